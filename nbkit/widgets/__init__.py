"""What a person touches in a notebook. Importing this makes sessions show themselves, and obey interrupts."""

from nbkit.train import Session as Session
from nbkit.widgets.explorer import Explorer as Explorer
from nbkit.widgets.explorer import explore as explore
from nbkit.widgets.interrupt import listen
from nbkit.widgets.session import SessionWidget as SessionWidget

listen()
