"""The engine's parity mode (`configs/engines/retalk-parity.yaml`): the original frame for frame, quirks
included, as stages of the graph.

For comparisons with the original only. Columns hold **BGR** pictures where the original does. What the
original decides once for a clip (its crop, the end of the box smoothing, the number of frames) is worked out
from the title's frame numbers, so that results do not depend on the segment length. Where the original ends
before the video or the speech does, frames stay as they are.
"""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

import numpy as np

from operators.faces.dlib_backend import MODELS
from operators.media.frames import Frame
from operators.retalk.detectors import Detectors, make_detectors
from operators.retalk.nets import NetworkStage, shared_networks
from operators.segment import Segment

CROP = 256


@dataclasses.dataclass(frozen=True)
class ParityOptions:
    """Options of the stages of parity mode.

    Attributes:
        recorded: .npz of detector answers (`detectors.RecordedDetectors`); what it does not hold, the
            detectors find.
        weights: home of other model files than the official ones
            (`retalk_models.registry.registry.home_registry`).
    """

    recorded: str = ""
    weights: str = ""


class ParityStage(NetworkStage):
    """A stage with networks and detectors."""

    Options: ClassVar[type] = ParityOptions

    def setup(self, device: str) -> None:
        """The networks of this process; each is loaded when it is first called."""
        self.networks = shared_networks(device, self.options.weights)

    def bundled_models(self, options: Any) -> tuple[str, ...]:
        """See `Stage.bundled_models`."""
        return () if options.recorded else MODELS

    def detectors(self, segment: Segment) -> Detectors:
        """Detectors of this row."""
        return make_detectors(self.options_for(segment).recorded, self.networks)


def bgr(frame: Frame) -> np.ndarray:
    """uint8[h, w, 3] BGR of a whole frame."""
    return np.ascontiguousarray(frame.rgb()[..., ::-1])
