"""Every pure function of the original against its recorded inputs and outputs (``../shared/parity/functions``
or RETALK_PARITY_GOLDENS).

Without them `test_function_digest` holds the same functions against a committed digest.
"""

from __future__ import annotations

import json
from collections.abc import Iterator

import cv2
import librosa
import numpy as np
import pytest
from numpy.typing import ArrayLike

from operators.evaluation.lse import mfcc, sync_score
from operators.numeric import pyramid
from operators.retalk import (
    align3d,
    boxes,
    coefficients,
    emotion,
    enhance,
    face_boxes,
    mel,
    oriented_crops,
    restore,
)
from operators.retalk import network_inputs as batches
from tests.parity import assert_close, golden, goldens

FOLDER = goldens()
pytestmark = pytest.mark.skipif(
    FOLDER is None or not (FOLDER / "functions").is_dir(), reason="no goldens beside this checkout"
)


def close(actual: ArrayLike, expected: ArrayLike) -> None:
    """Float arrays: within the parity tolerance."""
    assert_close("function", np.asarray(actual), np.asarray(expected))


def same_picture(actual: np.ndarray, expected: np.ndarray) -> None:
    """8-bit pictures: equal, or off by one on less than a thousandth of the values (OpenCV and Pillow builds
    differ there).
    """
    assert actual.shape == expected.shape
    difference = np.abs(actual.astype(int) - expected.astype(int))
    assert difference.max() <= 1
    assert (difference > 0).mean() < 1e-3


def cases(arrays: dict[str, np.ndarray], name: str) -> Iterator[int]:
    """0, 1, 2 ... while the golden has ``name_<k>``."""
    k = 0
    while f"{name}_{k}" in arrays:
        yield k
        k += 1
    assert k, f"the golden has no {name}_0"


def test_mel_and_chunks() -> None:
    g = golden("functions/audio_mel.npz")
    close(mel.pre_emphasis(g["in_wav"])[:2000], g["out_preemph_head"])
    close(mel.mel_basis().sum(1), g["out_mel_basis_rowsum"])
    close(mel.mel_basis()[10], g["out_mel_basis_row10"])
    spectrogram = mel.mel_spectrogram(g["in_wav"])
    close(spectrogram, g["out_mel"])
    for k, fps in enumerate(g["in_fps"]):
        assert (
            mel.chunk_starts(spectrogram.shape[1], float(fps)).tolist() == g[f"out_chunk_starts_{k}"].tolist()
        )


def test_resampling_of_the_declared_kind() -> None:
    g = golden("functions/resample.npz")
    close(
        librosa.resample(
            g["in_stereo44k"].mean(1), orig_sr=44100, target_sr=mel.SAMPLE_RATE, res_type="soxr_hq"
        ),
        g["out_soxr_hq"],
    )


def test_crop_for_the_3dmm_network() -> None:
    g = golden("functions/face3d_align.npz")
    picture, standard = g["in_image_rgb_u8"], g["in_lm3d_5x3"]
    for k in cases(g, "in_lm68_image"):
        crop, parameters = align3d.align(picture, g[f"in_lm68_image_{k}"], standard)
        same_picture(crop, g[f"out_crop224_{k}"])
        close(parameters, g[f"out_trans_params_{k}"])
    crop, parameters = align3d.align(picture, None, standard)
    same_picture(crop[::2, ::2], g["out_fallback_crop224_s2"])
    close(parameters, g["out_fallback_trans_params"])


def test_coefficient_windows() -> None:
    g = golden("functions/semantic.npz")
    rows = g["in_semantic"]
    for i in g["in_idx"]:
        ratio = coefficients.crop_ratio(rows[i], rows)
        close([ratio], g[f"out_ratio_{i}"])
        close(coefficients.window(rows, i, ratio), g[f"out_window_{i}"])
        close(coefficients.window(rows, i, ratio, g["in_expression"]), g[f"out_window_newexp_{i}"])
    ratio = coefficients.crop_ratio(g["in_src_alt"][0], g["in_semantic_alt"])
    close([ratio], g["out_ratio_alt"])
    close(coefficients.window(g["in_semantic_alt"], 7, ratio), g["out_window_alt_7"])
    short = rows[:4]
    close(coefficients.window(short, 2, coefficients.crop_ratio(short[2], short)), g["out_window_short4_2"])
    assert coefficients.window_indices(5, 31).tolist() == g["out_seq_index_5_of_31"].tolist()
    for name, part in coefficients.split(np.arange(257.0)[None]).items():
        close(part, g[f"out_split_{name}"])


def test_crop_of_the_clip() -> None:
    g = golden("functions/ffhq_crop.npz")
    for k in cases(g, "in_lm68"):
        crop = oriented_crops.clip_crop(g[f"in_lm68_{k}"], *(int(v) for v in g[f"in_size_wh_{k}"]))
        assert crop.crop == tuple(g[f"out_crop_{k}"])
        close(crop.quad, g[f"out_quad_{k}"])
        assert crop.box == tuple(g[f"out_oy1_oy2_ox1_ox2_{k}"])


def test_oriented_quads() -> None:
    g = golden("functions/stit_align.npz")
    landmarks, exact = g["in_lm68"], g["out_quads"]
    close(oriented_crops.oriented_crops(landmarks), exact)
    close(oriented_crops.oriented_crops(landmarks, centre_sigma=1, axes_sigma=3), g["out_quads_sigma_c1_xy3"])
    close(oriented_crops.oriented_crops(landmarks, scale=1.2), g["out_quads_scale1p2"])
    for i, quad in enumerate(exact):
        picture = g["in_images_u8"][i % 2]
        close(oriented_crops.inverse_perspective(quad), g["out_inverse"][i])
        crop = oriented_crops.aligned_crop(picture, quad)
        same_picture(crop[::2, ::2], g["out_crops_s2"][i])
        if f"out_crop_full_{i}" in g:
            same_picture(crop, g[f"out_crop_full_{i}"])
        if f"out_paste_{i}" in g:
            same_picture(
                oriented_crops.paste_aligned(g["in_full256_u8"], crop, g["out_inverse"][i]),
                g[f"out_paste_{i}"],
            )


def test_face_boxes() -> None:
    g = golden("functions/face_box.npz")
    for k in cases(g, "in_det_x1y1x2y2"):
        height, width = (int(v) for v in g[f"in_hw_{k}"])
        pads = tuple(int(v) for v in g[f"in_pads_{k}"])
        actual = face_boxes.face_boxes(
            g[f"in_det_x1y1x2y2_{k}"], pads, (width, height), smooth=not g[f"in_nosmooth_{k}"]
        )
        assert actual.tolist() == g[f"out_y1y2x1x2_{k}"].tolist()


def test_inputs_of_the_networks() -> None:
    g = golden("functions/datagen.npz")
    oriented = oriented_crops.oriented_crops(g["in_lm68"])
    clip_box = tuple(int(v) for v in g["in_cox_oy1_oy2_ox1_ox2"])
    for i, index in enumerate(g["out_full_frame_index"]):
        assert index == i % len(g["in_full"])
        frame = g["in_full"][index]
        reference = batches.reference_frame(frame, g["in_ref256"][index], oriented[index], clip_box)
        item = batches.face_input(frame, reference, tuple(int(v) for v in g["out_coords"][i]))
        pair = np.rint(item.pair * 255).astype(np.uint8)
        same_picture(pair[::4, ::4], g["out_img_batch_x255_u8_s4"][i])
        same_picture(np.rint(item.face * 255).astype(np.uint8)[::4, ::4], g["out_img_original_s4"][i])
        if i == 2:
            same_picture(pair, g["out_img_batch_x255_item2_u8"])


def test_boxes_of_s3fd() -> None:
    g = golden("functions/s3fd_decode.npz")
    for picture in range(len(g["out_first_box_int"])):
        maps = [np.exp(g[f"in_cls{i}"][picture]) for i in range(1, 7)]
        scores = [m / m.sum(0) for m in maps]
        found = boxes.decode_s3fd(scores, [g[f"in_reg{i}"][picture] for i in range(1, 7)])
        close(found, g[f"out_dets_{picture}"])
        best = boxes.best_box(found)
        assert best is not None
        assert best.tolist() == g["out_first_box_int"][picture].tolist()


def test_boxes_of_retinaface() -> None:
    g = golden("functions/retinaface_decode.npz")
    height, width = (int(v) for v in g["in_hw"])
    close(boxes.retinaface_anchors(height, width), g["out_priors"])
    detections, points = boxes.decode_retinaface(
        g["in_loc"][0], g["in_conf"][0], g["in_landm"][0], (width, height)
    )
    close(detections, g["out_gpen_dets"])
    close(points.transpose(0, 2, 1).reshape(-1, 10), g["out_gpen_landms"])


def test_crop_and_heat_maps_of_fan() -> None:
    g = golden("functions/fan_crop_decode.npz")
    for k in cases(g, "in_det"):
        centre, scale = boxes.fan_region(g[f"in_det_{k}"])
        close(centre, g[f"out_center_{k}"])
        close([scale], [g[f"out_scale_{k}"]])
        same_picture(boxes.fan_crop(g["in_image_rgb_u8"], centre, scale)[::2, ::2], g[f"out_crop256_s2_{k}"])
        if f"out_pts64_{k}" in g:
            heat, picture = boxes.decode_fan(g[f"in_heatmaps_f16_{k}"][0].astype(np.float32), centre, scale)
            close(heat, g[f"out_pts64_{k}"][0])
            assert (picture == g[f"out_pts_image_{k}"][0]).all()


@pytest.mark.parametrize("step", ["mouth", "final"])
def test_pyramid_blend(step: str) -> None:
    g = golden(f"functions/laplacian_blend_{step}.npz")
    mixed = pyramid.blend(g["in_A_u8"], g["in_B_u8"], g["in_mask"].astype(np.float32), int(g["in_levels"]))
    assert mixed.dtype == np.float32
    close(mixed[::4, ::4], g["out_s4"])
    close(mixed[230:330:2, 150:400:2], g["out_crop"])


def test_alignment_and_masks_of_the_enhancer() -> None:
    g = golden("functions/gpen_align_and_masks.npz")
    close(enhance.reference_points(), g["out_reference_5pts"])
    for k in cases(g, "in_pts_2x5"):
        forward, inverse, scale = enhance.alignment(g[f"in_pts_2x5_{k}"].T)
        close(forward, g[f"out_tfm_{k}"])
        close(inverse, g[f"out_tfm_inv_{k}"])
        close([scale], [g[f"out_scale_{k}"]])
        same_picture(enhance.aligned_face(g["in_img"], forward)[::4, ::4], g[f"out_face_s4_{k}"])
    face = enhance.label_mask(g["in_label_map"], enhance.FACE_LABELS)
    assert (face == g["out_face_mask_u8"]).all()
    sharp, soft = enhance.soften(face / 255.0)
    close(soft[::4, ::4], g["out_mask_postprocess_s4"])
    close([sharp.sum()], [g["out_mask_sharp_after_inplace_sum"]])
    size = (g["in_img"].shape[1], g["in_img"].shape[0])
    for k in cases(g, "in_mouth_box"):
        mouth = enhance.mouth_mask(g["in_label_map"], tuple(int(v) for v in g[f"in_mouth_box_{k}"]), size)
        assert (mouth == g[f"out_mouth_mask_u8_{k}"]).all()
        close(cv2.resize(mouth.astype(np.float32), (512, 512))[::4, ::4], g[f"out_mouth_mask512_s4_{k}"])


@pytest.mark.parametrize("call", ["enhance1", "enhance2", "final1", "final2"])
def test_enhancer_call(call: str) -> None:
    g = golden("functions/gpen_process.npz")
    final = call.startswith("final")
    actual = enhance.process(
        g["in_img"],
        g["in_ori"] if final else g["in_img"],
        g[f"in_faceb_{call}"],
        g[f"in_landm10_{call}"].reshape(-1, 2, 5).transpose(0, 2, 1),
        lambda face: g["in_label_map"],
        enhance=None if final else lambda face: 255 - face,
        box=tuple(int(v) for v in g[f"in_bbox_{call}"]) if final else None,
    )
    same_picture(actual, g[f"out_img_{call}"])


def test_mouth_composite() -> None:
    g = golden("functions/mouth_composite.npz")
    box = tuple(int(v) for v in g["in_bbox"])
    pasted = batches.paste_face(g["in_frame"], g["in_pred_f01"].astype(np.float32), box)
    same_picture(pasted, g["out_pasted"])
    labels = np.where(g["in_mouth_label_mask"] > 0, enhance.MOUTH_LABELS[0], 0)
    mask = enhance.mouth_mask(labels, box, (pasted.shape[1], pasted.shape[0]))
    same_picture(
        enhance.blend_at_512(g["in_restored"], pasted, mask.astype(np.float32), 10), g["out_mouth_blended"]
    )


def test_restoration() -> None:
    g = golden("functions/gfpgan_align_paste.npz")
    for k in cases(g, "in_lm5"):
        matrix = restore.alignment(g[f"in_lm5_{k}"])
        close(matrix, g[f"out_affine_{k}"])
        close(cv2.invertAffineTransform(matrix), g[f"out_inverse_{k}"])
        same_picture(restore.aligned_face(g["in_img"], matrix)[::4, ::4], g[f"out_face512_s4_{k}"])
        same_picture(
            restore.restore(g["in_img"], g[f"in_lm5_{k}"], lambda face: 255 - face),
            g[f"out_pasted_with_inverted_face_{k}"],
        )
    size = (g["in_img"].shape[1], g["in_img"].shape[0])
    assert restore.centre_index(g["in_boxes_center"], size) == g["out_center_index"]


def test_sync_metric() -> None:
    g = golden("functions/syncnet_metric.npz")
    score = sync_score(g["in_lip"], g["in_aud"], int(g["in_vshift"]))
    close(score.distances, g["out_mean_dist"])
    close([score.lse_d, score.lse_c], [g["out_min_dist_lse_d"], g["out_conf_lse_c"]])
    assert score.offset == g["out_offset"]
    close(mfcc(g["in_wav_i16"]), g["out_mfcc_frames_by_13"])


def test_emotion_vectors() -> None:
    assert FOLDER is not None
    targets = json.loads((FOLDER / "functions" / "au_targets.json").read_text())
    assert [f"AU{unit:02d}" for unit in emotion.ACTION_UNITS] == targets["order"]
    for name in ("sad", "angry", "surprise"):
        close(emotion.action_units(name, parity=True), np.array(targets[name]))
