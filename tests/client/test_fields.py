"""The client's fields and names held to the server's: what the one sends the other takes."""

import request as server
from sampling import ALIASES, SAMPLERS, SPACINGS
from triton_diffusion._metadata import automatic1111
from triton_diffusion._settings import DATATYPES, STREAM_ONLY

CONFIGURED = {"BYTES": "STRING"}  # Triton's name of the datatype on the wire and in a configuration


def test_the_client_declares_the_servers_fields():
    declared = {name: CONFIGURED.get(datatype, datatype) for name, datatype in DATATYPES.items()}
    assert declared == {field.name: field.datatype for field in server.FIELDS}
    assert {field.name for field in server.FIELDS if field.stream_only} == STREAM_ONLY
    assert all(field.shape == (1,) for field in server.FIELDS)


def test_every_sampler_and_spacing_has_its_name_in_files():
    assert {*SAMPLERS} - {*automatic1111.SAMPLERS} == {"tcd"}  # which AUTOMATIC1111 does not have
    assert {*automatic1111.SCHEDULES} == {*SPACINGS}


def test_names_in_files_mean_to_the_server_what_they_mean_here():
    for ours, theirs in automatic1111.SAMPLERS.items():
        assert ALIASES.get(theirs, (ours, None))[0] == ours
