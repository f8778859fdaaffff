"""What there is to learn: data, loss and metrics; offline, seeded, one file a family."""

from nbkit.tasks.digits import digits as digits
from nbkit.tasks.errors import TaskError as TaskError
from nbkit.tasks.modular import OPERATIONS as OPERATIONS
from nbkit.tasks.modular import modular_arithmetic as modular_arithmetic
from nbkit.tasks.spirals import spirals as spirals
from nbkit.tasks.task import OutputError as OutputError
from nbkit.tasks.task import Task as Task
from nbkit.tasks.task import accuracy as accuracy
from nbkit.tasks.task import cross_entropy as cross_entropy
