"""The ten made-up residents by name, with a line about what happens to each, for whoever looks around in `dev`.

>>> [person.name for person in PEOPLE][:3]
['Rosa', 'Minh', 'Dana']
>>> len({person.subject for person in PEOPLE})
10
"""

from typing import NamedTuple


class MadeUpResident(NamedTuple):
    """A resident of the story."""

    subject: str
    name: str
    about: str


PEOPLE = (
    MadeUpResident("res_7f2c", "Rosa", "an address given for a pothole, used for a newsletter"),
    MadeUpResident("res_1b94", "Minh", "a permit, an inspection, and a newspaper that asked for the file"),
    MadeUpResident("res_c3d8", "Dana", "a month without a name"),
    MadeUpResident("res_9d0b", "Lee", "what the law demands, and what it holds back"),
    MadeUpResident("res_04ea", "Ines", "a library card from before the policy"),
    MadeUpResident("res_5a61", "Tom", "a form of the parks, and a consent dated back"),
    MadeUpResident("res_b672", "Linh", "a summer camp that asked too much"),
    MadeUpResident("res_2fb6", "Omar", "what the app counts by itself"),
    MadeUpResident("res_8e37", "Kim", "a social account that gave more than it may"),
    MadeUpResident("res_e519", "Pat", "the quiet neighbour"),
)
