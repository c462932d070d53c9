"""The client's fields and names held to the server's: what the one sends the other takes."""

import request as server
from sampling import ALIASES, SAMPLERS, SPACINGS
from sampling.aliases import SAMPLER_ALIASES
from triton_diffusion._metadata import automatic1111
from triton_diffusion._settings import DATATYPES, STREAM_ONLY

CONFIGURED = {"BYTES": "STRING"}  # Triton's name of the datatype on the wire and in a configuration


def test_the_client_declares_the_servers_fields():
    declared = {name: CONFIGURED.get(datatype, datatype) for name, datatype in DATATYPES.items()}
    assert declared == {field.name: field.datatype for field in server.FIELDS}
    assert {field.name for field in server.FIELDS if field.stream_only} == STREAM_ONLY
    assert all(field.shape == (1,) for field in server.FIELDS)


def test_every_sampler_that_automatic1111_has_goes_by_its_name_there():
    theirs = {alias.sampler for alias in SAMPLER_ALIASES if alias.program == "A1111"}
    assert theirs <= {*automatic1111.SAMPLERS} <= {*SAMPLERS}


def test_every_spacing_has_its_name_in_files():
    assert {*automatic1111.SCHEDULES} == {*SPACINGS}


def test_names_in_files_mean_to_the_server_what_they_mean_here():
    for ours, theirs in automatic1111.SAMPLERS.items():
        assert ALIASES.get(theirs, (ours, None))[0] == ours
