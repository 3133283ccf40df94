"""Numbers, flags and strings that modules keep as Python attributes: what a traced step holds fast and cannot see."""

from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn

_OWN = frozenset(vars(nn.Module()))  # of PyTorch, `training` among them
_KINDS = (bool, int, float, str, type(None))

Place = tuple[int, str]  # number of a module, name of an attribute


class PlainAttributes:
    """The attributes of modules that are numbers, flags, strings, None, or tuples of these.

    Looking costs a few microseconds for a hundred attributes: objects are compared by identity first. What modules keep
    in other objects, in lists or in their class is not seen.

    Args:
        modules: whose attributes they are; attributes of PyTorch's and Pyro's own are left out.
    """

    def __init__(self, modules: Sequence[nn.Module]) -> None:
        self._modules = list(modules)
        self._dicts = [vars(module) for module in modules]
        self._known: dict[Any, int] = {}
        self._read()

    def version(self) -> int:
        """A number for the values as they are: the same whenever all values are."""
        same = [id(attributes.get(name)) for attributes, name in self._slots] == self._ids
        if not same or list(map(len, self._dicts)) != self._sizes:
            self._read()
        return self._version

    def values(self) -> dict[Place, Any]:
        """All of them now."""
        return {
            (number, name): value
            for number, attributes in enumerate(self._dicts)
            for name, value in attributes.items()
            if name not in _OWN and not name.startswith("_pyro") and _is_plain(value)
        }

    def restore(self, values: Mapping[Place, Any]) -> None:
        """Put values back that were read before."""
        for (number, name), value in values.items():
            self._dicts[number][name] = value

    def changes(self, before: Mapping[Place, Any], after: Mapping[Place, Any]) -> list[str]:
        """Those that changed, were added or went away, in words."""
        missing = object()
        found = []
        for place in {**before, **after}:
            old, new = before.get(place, missing), after.get(place, missing)
            if old is not new and (type(old), old) != (type(new), new):
                name = f"{type(self._modules[place[0]]).__name__}.{place[1]}"
                parts = [f" {word} {value!r}" for word, value in (("from", old), ("to", new)) if value is not missing]
                found.append(name + "".join(parts))
        return found

    def _read(self) -> None:
        values = self.values()
        self._slots = [(self._dicts[number], name) for number, name in values]
        self._kept = list(values.values())  # so that no id is given away
        self._ids = [id(value) for value in self._kept]
        self._sizes = [len(attributes) for attributes in self._dicts]
        key = frozenset((place, type(value), value) for place, value in values.items())
        self._version = self._known.setdefault(key, len(self._known))


def _is_plain(value: Any) -> bool:
    return isinstance(value, _KINDS) or (isinstance(value, tuple) and all(map(_is_plain, value)))
