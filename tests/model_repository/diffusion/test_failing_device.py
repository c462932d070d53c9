"""A device that fails at what it was given, of which the host hears when it waits for it."""

import numpy as np
from batch import Generation
from networks.arrays import HostArrays, Moment
from request import Request
from sampling import step_table
from scheduler import Scheduler

from tests.model_repository.diffusion.conftest import Waiter


class DeviceMark(Moment):
    """A mark that raises where the device is lost."""

    def __init__(self, device: "FailingDevice") -> None:
        super().__init__()
        self._device = device

    def wait(self) -> None:
        if self._device.lost:
            raise RuntimeError("the device is lost")


class FailingDevice(HostArrays):
    """Runs one step ahead."""

    ahead = 1
    lost = True

    def mark(self) -> DeviceMark:
        return DeviceMark(self)


def test_all_that_the_device_was_given_end_once_with_its_reason_and_the_loop_goes_on(checkpoint, denoiser, metrics):
    device = FailingDevice()
    scheduler = Scheduler(denoiser, max_active_samples=16, metrics=metrics, arrays=device)

    def submit(steps: int, width: int = 128) -> Waiter:
        table = step_table(checkpoint.noise_schedule, "dpmpp_2m", steps)
        request = Request("", "", 1, 128, width, 1.0, 0, 0, table)
        context = {"context": np.zeros((1, 77, 8), np.float32)}
        waiter = Waiter()
        shape = checkpoint.latent_format.shape(128, width)
        scheduler.submit(Generation(request, shape, context, device), waiter)
        return waiter

    try:
        denoiser.gate.clear()
        waiters = [submit(5), submit(5, width=64), submit(1)]
        denoiser.gate.set()
        for waiter in waiters:
            assert waiter.ended.wait(10)
            assert str(waiter.reason) == "the device is lost"
            assert waiter.steps == [0]
        device.lost = False
        waiter = submit(5)
        assert waiter.ended.wait(10)
        assert waiter.steps == [0, 1, 2, 3, 4, 5]
        assert waiter.latent is not None
    finally:
        scheduler.close()
