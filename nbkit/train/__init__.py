"""The live session: training in a background thread that can be steered while it runs."""

from nbkit.train.errors import Failure as Failure
from nbkit.train.errors import NonFiniteLossError as NonFiniteLossError
from nbkit.train.errors import RecipeError as RecipeError
from nbkit.train.errors import SessionClosedError as SessionClosedError
from nbkit.train.errors import SessionError as SessionError
from nbkit.train.errors import SnapshotError as SnapshotError
from nbkit.train.errors import TrainingFailedError as TrainingFailedError
from nbkit.train.events import Event as Event
from nbkit.train.events import State as State
from nbkit.train.history import Delta as Delta
from nbkit.train.history import History as History
from nbkit.train.recipe import OPTIMIZERS as OPTIMIZERS
from nbkit.train.recipe import Recipe as Recipe
from nbkit.train.session import Session as Session
from nbkit.train.until import Metrics as Metrics
from nbkit.train.until import condition as condition
