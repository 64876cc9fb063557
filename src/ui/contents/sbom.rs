//! The packages that a bill of materials lists: SPDX 2 and CycloneDX, both in JSON, alone or as the predicate of a statement.

use serde::Deserialize;

use super::capped::Capped;

/// Packages that are kept.
const MAX_PACKAGES: usize = 2000;
/// Licences of a package that are kept.
const MAX_LICENCES: usize = 4;
/// What SPDX writes where it knows nothing.
const NO_ASSERTION: &str = "NOASSERTION";

/// The packages of an SBOM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PackageList {
    /// Such as `SPDX-2.3`.
    pub format: String,
    /// The first of them, in the document's order.
    pub packages: Vec<SbomPackage>,
    /// Number of all packages.
    pub total: usize,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SbomPackage {
    pub name: String,
    pub version: String,
    pub licence: String,
}

#[derive(Deserialize)]
struct Wrapped<T> {
    predicate: T,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SpdxDocument {
    spdx_version: Option<String>,
    #[serde(default)]
    packages: Capped<SpdxPackage, MAX_PACKAGES>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SpdxPackage {
    name: Option<String>,
    version_info: Option<String>,
    license_concluded: Option<String>,
    license_declared: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct CycloneDxDocument {
    spec_version: Option<String>,
    #[serde(default)]
    components: Capped<Component, MAX_PACKAGES>,
}

#[derive(Deserialize)]
struct Component {
    group: Option<String>,
    name: Option<String>,
    version: Option<String>,
    #[serde(default)]
    licenses: Capped<LicenceChoice, MAX_LICENCES>,
}

#[derive(Deserialize)]
struct LicenceChoice {
    license: Option<LicenceName>,
    expression: Option<String>,
}

#[derive(Deserialize)]
struct LicenceName {
    id: Option<String>,
    name: Option<String>,
}

pub(super) fn read_spdx(bytes: &[u8]) -> Result<PackageList, serde_json::Error> {
    serde_json::from_slice::<SpdxDocument>(bytes).map(SpdxDocument::list)
}

pub(super) fn read_spdx_predicate(statement: &[u8]) -> Result<PackageList, serde_json::Error> {
    serde_json::from_slice::<Wrapped<SpdxDocument>>(statement).map(|wrapped| wrapped.predicate.list())
}

pub(super) fn read_cyclonedx(bytes: &[u8]) -> Result<PackageList, serde_json::Error> {
    serde_json::from_slice::<CycloneDxDocument>(bytes).map(CycloneDxDocument::list)
}

pub(super) fn read_cyclonedx_predicate(statement: &[u8]) -> Result<PackageList, serde_json::Error> {
    serde_json::from_slice::<Wrapped<CycloneDxDocument>>(statement).map(|wrapped| wrapped.predicate.list())
}

impl SpdxDocument {
    fn list(self) -> PackageList {
        let stated = |text: Option<String>| text.filter(|text| text != NO_ASSERTION && !text.is_empty());
        let packages = self.packages.first.into_iter().map(|package| SbomPackage {
            name: package.name.unwrap_or_default(),
            version: package.version_info.unwrap_or_default(),
            licence: stated(package.license_concluded)
                .or(stated(package.license_declared))
                .unwrap_or_default(),
        });
        PackageList {
            format: self.spdx_version.unwrap_or_else(|| "SPDX".to_owned()),
            packages: packages.collect(),
            total: self.packages.total,
        }
    }
}

impl CycloneDxDocument {
    fn list(self) -> PackageList {
        let version = self.spec_version.map(|version| format!(" {version}"));
        PackageList {
            format: format!("CycloneDX{}", version.unwrap_or_default()),
            total: self.components.total,
            packages: self.components.first.into_iter().map(Component::package).collect(),
        }
    }
}

impl Component {
    fn package(self) -> SbomPackage {
        let name = self.name.unwrap_or_default();
        let licences = self.licenses.first.into_iter().filter_map(|choice| {
            let named = choice.license.and_then(|licence| licence.id.or(licence.name));
            choice.expression.or(named)
        });
        SbomPackage {
            name: match self.group.filter(|group| !group.is_empty()) {
                Some(group) => format!("{group}/{name}"),
                None => name,
            },
            version: self.version.unwrap_or_default(),
            licence: licences.collect::<Vec<_>>().join(", "),
        }
    }
}
