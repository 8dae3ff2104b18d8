"""A bill of materials as CycloneDX JSON."""

from __future__ import annotations

import datetime
import re
import uuid
from collections.abc import Iterable, Mapping

from cyclonedx.contrib.license.factories import LicenseFactory
from cyclonedx.model import ExternalReference, ExternalReferenceType, HashAlgorithm, HashType, Property, XsUri
from cyclonedx.model.bom import Bom, BomMetaData
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.model.dependency import Dependency
from cyclonedx.model.license import License
from cyclonedx.output.json import JsonV1Dot6
from packageurl import PackageURL

from pipelines.rights.inventory import Dubbed, Inventory, Model
from pipelines.rights.packages import NativeLibrary, Package
from retalk_models.installation import DISTRIBUTION

#: Beginning of the names of properties.
OWN = "retalk:"
_NAMESPACE = uuid.uuid5(uuid.NAMESPACE_DNS, "retalk-dub.bom")


def as_cyclonedx(inventory: Inventory) -> str:
    """Return CycloneDX 1.6 as JSON; the same inventory gives the same text."""
    root = Component(
        name=DISTRIBUTION,
        version=inventory.version,
        type=ComponentType.APPLICATION,
        bom_ref=DISTRIBUTION,
        description=f"Visual dubbing; {inventory.subject}",
        licenses=_licences("Apache-2.0"),
        properties=_properties({"engine": inventory.engine, **inventory.facts}),
    )
    made = inventory.made or "1970-01-01T00:00:00+00:00"
    components = [
        *(_package(one) for one in inventory.packages if one.name != DISTRIBUTION),
        *(_library(one) for one in inventory.libraries),
        *(_model(one) for one in inventory.models),
        *_data(inventory.models),
        *(_dub(one) for one in inventory.dubs),
    ]
    unique = {str(component.bom_ref): component for component in components}
    bom = Bom(
        components=unique.values(),
        serial_number=uuid.uuid5(_NAMESPACE, inventory.key),
        metadata=BomMetaData(component=root, timestamp=datetime.datetime.fromisoformat(made)),
        dependencies=[
            Dependency(root.bom_ref, dependencies=[Dependency(one.bom_ref) for one in unique.values()])
        ],
        properties=_properties({f"note:{n}": note for n, note in enumerate(inventory.notes, 1)}),
    )
    return JsonV1Dot6(bom).output_as_string(indent=2) + "\n"


def _licences(text: str) -> list[License]:
    return [LicenseFactory().make_from_string(text)] if text else []


def _properties(values: Mapping[str, str]) -> list[Property]:
    return [Property(name=f"{OWN}{name}", value=value) for name, value in values.items() if value]


def _hashes(digests: str) -> list[HashType]:
    return [
        HashType(alg=HashAlgorithm.SHA_256, content=digest)
        for digest in digests.split(", ")
        if re.fullmatch("[0-9a-f]{64}", digest)
    ]


def _package(one: Package) -> Component:
    purl = PackageURL("pypi", name=one.name, version=one.version)
    pages = [ExternalReference(type=ExternalReferenceType.WEBSITE, url=XsUri(one.page))] if one.page else []
    return Component(
        name=one.name,
        version=one.version,
        bom_ref=purl.to_string(),
        purl=purl,
        licenses=_licences(one.licence),
        external_references=pages,
    )


def _library(one: NativeLibrary) -> Component:
    return Component(
        name=one.name,
        version=one.version or None,
        bom_ref=f"native:{one.package}/{one.name}@{one.version}/{one.sha256[:16]}",
        licenses=_licences(one.licence),
        hashes=_hashes(one.sha256),
        properties=_properties({"inside": one.package, "build": one.build}),
    )


def _model(one: Model) -> Component:
    return Component(
        name=one.name,
        type=ComponentType.MACHINE_LEARNING_MODEL,
        bom_ref=f"model:{one.name}",
        licenses=_licences(one.licence),
        hashes=_hashes(one.sha256),
        external_references=[
            ExternalReference(type=ExternalReferenceType.DISTRIBUTION, url=XsUri(url)) for url in one.sources
        ],
        properties=_properties(
            {
                "commercial": one.commercial,
                "trained-on": one.data or "not known",
                "data-commercial": one.data_commercial,
                "inside": one.package,
                "used-by": ", ".join(one.used_by),
            }
        ),
    )


def _data(models: Iterable[Model]) -> list[Component]:
    """Training data, each set once, with the models that were trained on it."""
    found: dict[str, list[Model]] = {}
    for one in models:
        if one.data:
            found.setdefault(one.data, []).append(one)
    return [
        Component(
            name=data,
            type=ComponentType.DATA,
            bom_ref=f"data:{data}",
            properties=_properties(
                {"models": ", ".join(one.name for one in users), "commercial": users[0].data_commercial}
            ),
        )
        for data, users in found.items()
    ]


def _dub(one: Dubbed) -> Component:
    return Component(
        name=f"{one.title} [{one.dub}]",
        type=ComponentType.FILE,
        bom_ref=f"dub:{one.title}/{one.dub}",
        properties=_properties(
            {
                **{"state": one.state, "key": one.key, "output": one.output, "consent": one.consent},
                "c2pa-manifest": one.manifest,
            }
        ),
    )
