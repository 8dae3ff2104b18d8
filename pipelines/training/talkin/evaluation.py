"""Figures of a trained talkin on clips that it has not seen, and a strip of pictures for human eyes."""

from __future__ import annotations

import numpy as np
import torch

from operators.evaluation.contact_sheet import stack, strip
from operators.exemplar.mouths import JAW_AND_MOUTH, opening_of
from operators.talkin.crops import hole
from operators.talkin.factors import Factors
from operators.talkin.model import predict_expression
from pipelines.training.talkin.batches import Faces, Voices
from retalk_models.talkin.expression import ExpressionNet
from retalk_models.talkin.renderer import Renderer


def openings(expression: np.ndarray, factors: Factors, voices: Voices, number: int) -> np.ndarray:
    """Opening of the mouth, float64[N] eye distances, that an utterance's person shows with an expression float[N, E]."""
    person = voices.people[voices.utterances[number].source]
    shapes = np.zeros((len(expression), 68, 2))
    shapes[:, JAW_AND_MOUTH] = factors.shapes(expression, person)
    return opening_of(shapes, person.eye)


def expression_figures(
    network: ExpressionNet, factors: Factors, voices: Voices, device: str
) -> dict[str, float]:
    """Mean over utterances of the correlation of predicted with true openings, and share of the expression's variance that is explained."""
    found, apart, whole = [], 0.0, 0.0
    for number, wanted in enumerate(voices.expressions):
        predicted = predict_expression(network, voices.sound(number), device)
        ours, true = (openings(one, factors, voices, number) for one in (predicted, wanted))
        if ours.std() > 1e-9 and true.std() > 1e-9:
            found.append(float(np.corrcoef(ours, true)[0, 1]))
        apart += float(((predicted - wanted) ** 2).sum())
        whole += float((wanted**2).sum())
    return {"opening_r": float(np.mean(found)) if found else 0.0, "explained": 1 - apart / max(whole, 1e-9)}


def renderer_figures(
    network: Renderer, faces: Faces, device: str, count: int = 16, seed: int = 7
) -> tuple[dict[str, float], np.ndarray]:
    """PSNR in the hole of painted frames, and of the references in their place; and pictures uint8[H, W, 3].

    The strip has, from the top, references, drawings, painted and true frames.
    """
    mask = torch.from_numpy(hole(faces.side).copy()).to(device)
    errors: dict[str, list[float]] = {"psnr": [], "reference_psnr": []}
    columns = []
    for number in range(count):
        batch = {name: value.to(device) for name, value in faces.batch(seed, number, 1).items()}
        frames, sketches = batch["frames"][:, 0], batch["sketches"][:, 0]
        true = frames[:, faces.window // 2]
        with torch.inference_mode():
            painted = network(frames, sketches, batch["reference"], batch["reference_sketch"], mask)
        for name, picture in (("psnr", painted), ("reference_psnr", batch["reference"])):
            error = float((((picture - true) ** 2) * mask).sum() / (3 * mask.sum()))
            errors[name].append(-10 * float(np.log10(max(error, 1e-10))))
        drawing = sketches[:, faces.window // 2]
        shown = torch.cat([drawing, drawing[:, :1]], 1)
        columns.append([batch["reference"], shown, painted, true])
    rows = [
        strip(
            [(one[k][0].clamp(0, 1) * 255).byte().permute(1, 2, 0).cpu().numpy() for one in columns[:8]],
            faces.side,
        )
        for k in range(4)
    ]
    return {name: float(np.mean(values)) for name, values in errors.items()}, stack(rows)
