"""What a session leaves on disk: written while it trains, read and replayed without torch."""

from nbkit.record.errors import RecordBusyError as RecordBusyError
from nbkit.record.errors import RecordError as RecordError
from nbkit.record.policy import Policy as Policy
from nbkit.record.record import Branch as Branch
from nbkit.record.record import Happening as Happening
from nbkit.record.record import Record as Record
from nbkit.record.recorder import Recorder as Recorder
