"""The priorities of keys."""

from request import PRIORITIES as OF_THE_SERVER
from triton_diffusion.gateway._keys import PRIORITIES


def test_keys_have_the_servers_priorities():
    assert {*PRIORITIES} == {*OF_THE_SERVER}
