"""What a person touches in a notebook. Importing this makes sessions show themselves."""

from nbkit.train import Session as Session
from nbkit.widgets.session import SessionWidget as SessionWidget
