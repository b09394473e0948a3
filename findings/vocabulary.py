"""The vocabulary as data: every canonical finding with the codes and statements that mean it.

Nothing flows in; `VOCABULARY` (name -> `Finding`) flows out to `labels`, which does the mapping. Sources: SNOMED
CT codes of the PhysioNet/CinC Challenge 2021 (scored and unscored lists), SCP-ECG statements of PTB-XL 1.0.3 (all
71), statements of LUDB 1.0.1 (README and headers, compared in lower case without the final dot).
"""

from __future__ import annotations

from dataclasses import dataclass

from ..errors_ecgllm import ECGError

CATEGORIES = (
    "rhythm",
    "conduction",
    "ectopy",
    "hypertrophy",
    "axis",
    "ischemia_infarction",
    "st_t",
    "pacing",
    "noise",
    "voltage",
    "clinical",
    "other",
)


@dataclass(frozen=True)
class Finding:
    """One canonical finding.

    broader: findings that hold whenever this one does. facet: siblings of one facet exclude each other once one is
    stated (territories of an infarction), siblings of different facets say nothing about each other (territory and
    age).
    blurs: findings about which this one leaves doubt; they are then neither affirmed nor denied.
    unsaid: findings that this one says nothing of, though it denies their specific kinds: atrial fibrillation may be
    slow or fast, and is no sinus bradycardia.
    category "clinical": a diagnosis of the patient, no finding of the ECG; it affirms and denies nothing of the ECG.
    """

    name: str
    category: str
    abnormal: bool = True
    snomed: tuple[str, ...] = ()
    scp: tuple[str, ...] = ()
    ludb: tuple[str, ...] = ()
    ptbxl: tuple[str, ...] = ()
    broader: tuple[str, ...] = ()
    blurs: tuple[str, ...] = ()
    unsaid: tuple[str, ...] = ()
    facet: str = "kind"


VOCABULARY: dict[str, Finding] = {}


def _add(
    category: str, name: str, *, snomed: str = "", scp: str = "", ptbxl: str = "", ludb: str = "", **rest
) -> None:
    """Codes separated by spaces, LUDB statements by '|', names by ', '."""
    names = {key: tuple(rest.pop(key).split(", ")) for key in ("broader", "blurs", "unsaid") if key in rest}
    if name in VOCABULARY:
        raise ECGError(f"finding {name!r} is defined twice")
    VOCABULARY[name] = Finding(
        name,
        category,
        snomed=tuple(snomed.split()),
        scp=tuple(scp.split()),
        ptbxl=tuple(ptbxl.split()),
        ludb=tuple(ludb.lower().split("|")) if ludb else (),
        **names,
        **rest,
    )


_WALLS = ("anterior", "lateral", "septal", "inferior", "posterior", "apical")


def _wall(wall: str) -> str:
    return wall if wall in ("septal", "apical") else f"{wall} wall"


def _on_walls(prefix: str) -> str:
    return "|".join(f"{prefix}: {_wall(wall)}" for wall in _WALLS)


# --- rhythm ---
_add("other", "normal ecg", abnormal=False, scp="NORM")
_add("rhythm", "sinus rhythm", abnormal=False, snomed="426783006", scp="SR", ludb="Rhythm: Sinus rhythm")
_SR = "sinus rhythm"
_add(
    "rhythm",
    "sinus bradycardia",
    snomed="426177001",
    scp="SBRAD",
    ludb="Rhythm: Sinus bradycardia",
    broader="bradycardia",
    blurs=_SR,
)
_add(
    "rhythm",
    "sinus tachycardia",
    snomed="427084000",
    scp="STACH",
    ludb="Rhythm: Sinus tachycardia",
    broader="tachycardia",
    blurs=_SR,
)
_add(
    "rhythm",
    "sinus arrhythmia",
    snomed="427393009",
    scp="SARRH",
    ludb="Rhythm: Sinus arrhythmia|Rhythm: Irregular sinus rhythm",
    blurs=_SR,
)
_add("rhythm", "bradycardia", snomed="426627000", blurs="sinus bradycardia")
_add("rhythm", "tachycardia")
# The rate of these rhythms is not part of their name.
_RATE = "bradycardia, tachycardia"
_add("rhythm", "atrial fibrillation", snomed="164889003", scp="AFIB", ludb="Rhythm: Atrial fibrillation", unsaid=_RATE)
for _name, _code in (("paroxysmal", "282825002"), ("chronic", "426749004"), ("rapid", "314208002")):
    _add("rhythm", f"{_name} atrial fibrillation", snomed=_code, broader="atrial fibrillation", facet=_name)
_add(
    "rhythm",
    "atrial flutter",
    snomed="164890007",
    scp="AFLT",
    ludb="Rhythm: Atrial flutter, typical|Rhythm: Atrial flutter",
    unsaid=_RATE,
)
# CinC's combined code does not say which of the two the record shows.
_add(
    "rhythm",
    "atrial fibrillation and flutter",
    snomed="195080001",
    blurs="atrial fibrillation, atrial flutter",
    unsaid=_RATE,
)
_add(
    "rhythm",
    "supraventricular tachycardia",
    snomed="426761007",
    scp="SVTAC",
    broader="tachycardia",
    blurs="supraventricular arrhythmia",
)
_SVT = "supraventricular tachycardia"
_add("rhythm", "paroxysmal supraventricular tachycardia", snomed="67198005", scp="PSVT", broader=_SVT, facet="course")
_add("rhythm", "atrial tachycardia", snomed="713422000", broader=_SVT)
_add("rhythm", "av nodal reentrant tachycardia", snomed="251166008", broader=_SVT)
_add("rhythm", "av reentrant tachycardia", snomed="233897008", broader=_SVT)
_add("rhythm", "supraventricular arrhythmia", scp="SVARR", unsaid=_RATE)
_add("rhythm", "unspecified arrhythmia", snomed="698247007", unsaid=_RATE)
_add("rhythm", "atrial rhythm", snomed="106068003", unsaid=_RATE)
_add("rhythm", "accelerated atrial escape rhythm", snomed="233892002", unsaid=_RATE)
_add(
    "rhythm",
    "wandering atrial pacemaker",
    snomed="195101003 17366009",
    ludb="Wandering atrial pacemaker",
    unsaid=_RATE,
)
_add("rhythm", "junctional rhythm", snomed="29320008", unsaid=_RATE)
_add("rhythm", "accelerated junctional rhythm", snomed="426664006", broader="junctional rhythm")
_add("rhythm", "junctional escape", snomed="426995002", blurs="junctional rhythm", unsaid=_RATE)
_add("rhythm", "junctional tachycardia", snomed="426648003", broader="tachycardia", blurs=_SVT)
_add("rhythm", "idioventricular rhythm", snomed="49260003", unsaid=_RATE)
_add("rhythm", "accelerated idioventricular rhythm", snomed="61277005", broader="idioventricular rhythm")
_add("rhythm", "ventricular escape rhythm", snomed="81898007", blurs="idioventricular rhythm", unsaid=_RATE)
_add("rhythm", "ventricular tachycardia", snomed="164895002", broader="tachycardia")
_add("rhythm", "paroxysmal ventricular tachycardia", snomed="425856008", broader="ventricular tachycardia")
_add("rhythm", "ventricular fibrillation", snomed="164896001", unsaid=_RATE)
_add("rhythm", "ventricular flutter", snomed="111288001", unsaid=_RATE)
_add("rhythm", "sinus node dysfunction", snomed="60423000", unsaid=_RATE)
_add("rhythm", "brady-tachy syndrome", snomed="74615001", blurs="sinus node dysfunction", unsaid=_RATE)
_add("rhythm", "sinus arrest", snomed="5609005", unsaid=_RATE)

# --- conduction ---
_add("conduction", "sinoatrial block", snomed="65778007", ludb="Sinoatrial blockade, undefined")
_add("conduction", "av block", snomed="233917008 204384007", ptbxl="class:AVB")
_AV = "av block"
_add(
    "conduction",
    "first degree av block",
    snomed="270492004",
    scp="1AVB",
    ludb="I degree AV block",
    broader=_AV,
    blurs="prolonged pr interval",
)
_add("conduction", "second degree av block", snomed="195042002", scp="2AVB", broader=_AV)
_add("conduction", "mobitz type i av block", snomed="54016002", broader="second degree av block")
_add("conduction", "mobitz type ii av block", snomed="426183003", broader="second degree av block")
_add(
    "conduction",
    "third degree av block",
    snomed="27885002",
    scp="3AVB",
    ludb="III degree AV-block|III degree AV block",
    broader=_AV,
    unsaid="bradycardia",
)
_add("conduction", "av dissociation", snomed="50799005", blurs="third degree av block")
_add("conduction", "prolonged pr interval", snomed="164947007", scp="LPR", blurs="first degree av block")
_add("conduction", "short pr interval", snomed="49578007")
_add("conduction", "ventricular preexcitation", snomed="195060002")
# A pattern is what an ECG shows; the syndrome has arrhythmias too. AHA/ACC/HRS 2007 (part II) state neither, but
# "ventricular preexcitation" (108).
_add("conduction", "wolff-parkinson-white pattern", snomed="74390002", scp="WPW", broader="ventricular preexcitation")
_add("conduction", "bundle branch block", snomed="6374002")
for _side, _snomed, _complete, _incomplete in (
    ("right", "59118001", "713427006", "713426002"),
    ("left", "164909002", "733534002", "251120003"),
):
    _block, _scp = f"{_side} bundle branch block", _side[0].upper() + "BBB"
    # Both sides may be blocked, complete and incomplete exclude each other.
    _add("conduction", _block, snomed=_snomed, broader="bundle branch block")
    for _degree, _code in (("complete", _complete), ("incomplete", _incomplete)):
        _add(
            "conduction",
            f"{_degree} {_block}",
            snomed=_code,
            scp=_degree[0].upper() + _scp,
            ludb=f"{_degree} {_block}",
            broader=_block,
        )
_add("conduction", "fascicular block", ptbxl="class:LAFB/LPFB")
_add(
    "conduction",
    "left anterior fascicular block",
    snomed="445118002",
    scp="LAFB",
    ludb="Left anterior hemiblock",
    broader="fascicular block",
)
_add("conduction", "left posterior fascicular block", snomed="445211001", scp="LPFB", broader="fascicular block")
_add(
    "conduction",
    "nonspecific intraventricular conduction disturbance",
    snomed="698252002",
    scp="IVCD",
    ludb="Non-specific intravintricular conduction delay|Non-specific intraventricular conduction delay",
)
_add(
    "conduction",
    "diffuse intraventricular block",
    snomed="82226007",
    blurs="nonspecific intraventricular conduction disturbance",
)
_add("conduction", "aberrant conduction", ludb="Aberrant conduction|Rhythm: Aberrant conduction")

# --- ectopy ---
_SVPC, _PAC, _PVC = (
    "premature supraventricular complexes",
    "premature atrial complexes",
    "premature ventricular complexes",
)
_add("ectopy", _SVPC, snomed="63593006", ptbxl="extra_beats:SVES")
_add(
    "ectopy",
    _PAC,
    snomed="284470004",
    scp="PAC",
    ludb="|".join(
        (
            "Atrial extrasystole, type: single PAC",
            "Atrial extrasystole: undefined",
            "Atrial extrasystole: SA-nodal extrasystole",
            "Atrial extrasystole: low atrial",
            "Atrial extrasystole: left atrial",
            "Atrial extrasystole, type: quadrigemini",
            "Atrial extrasystole, type: allorhythmic pattern",
        )
    ),
    broader=_SVPC,
)
_add(
    "ectopy",
    "atrial bigeminy",
    snomed="251173003",
    ludb="Atrial extrasystole, type: bigemini",
    broader=_PAC,
    facet="pattern",
)
_add(
    "ectopy", "supraventricular bigeminy", snomed="251168009", broader=_SVPC, facet="pattern", blurs="atrial bigeminy"
)
_add("ectopy", "blocked premature atrial complexes", snomed="251170000", broader=_PAC, facet="blocked")
_add("ectopy", "junctional premature complexes", snomed="251164006", broader=_SVPC)
_add("ectopy", "atrial escape beats", snomed="251187003")
_add(
    "ectopy",
    _PVC,
    snomed="427172004 17338001 164884008",
    scp="PVC",
    ptbxl="extra_beats:VES",
    ludb="Ventricular extrasystole, type: single PVC|Ventricular extrasystole, localisation: RVOT, anterior wall"
    "|Ventricular extrasystole, localisation: RVOT, antero-septal part"
    "|Ventricular extrasystole, localisation: IVS, middle part|Ventricular extrasystole, localisation: LVOT, LVS"
    "|Ventricular extrasystole, localisation: LV, undefined",
)
for _name, _snomed, _ludb in (
    ("ventricular bigeminy", "11157007", ""),
    ("ventricular trigeminy", "251180001", ""),
    ("ventricular couplets", "251182009", "Ventricular extrasystole, type: couplet"),
    ("interpolated premature ventricular complexes", "", "Ventricular extrasystole, type: intercalary PVC"),
    ("polymorphic premature ventricular complexes", "", "Ventricular extrasystole, morphology: polymorphic"),
):
    _add("ectopy", _name, snomed=_snomed, ludb=_ludb, broader=_PVC, facet=_name)
# SCP-ECG's BIGU and TRIGU leave open where the beats come from.
_add(
    "ectopy", "bigeminal pattern", scp="BIGU", blurs="ventricular bigeminy, supraventricular bigeminy, atrial bigeminy"
)
_add("ectopy", "trigeminal pattern", scp="TRIGU", blurs="ventricular trigeminy")
_add("ectopy", "unspecified premature complexes", scp="PRC(S)", ptbxl="extra_beats:ES", blurs=f"{_SVPC}, {_PVC}")
_add("ectopy", "ventricular escape beats", snomed="75532003")
_add("ectopy", "fusion beats", snomed="13640000")

# --- hypertrophy and enlargement: near-synonyms of one chamber never deny each other (facet = own name) ---
for _side, _codes in (
    (
        "left",
        {
            "abnormality": {"snomed": "253352002"},
            "enlargement": {"snomed": "67741000119109", "scp": "LAO/LAE"},
            "hypertrophy": {"snomed": "446813000"},
        },
    ),
    (
        "right",
        {
            "abnormality": {"snomed": "253339007"},
            "enlargement": {"scp": "RAO/RAE"},
            "hypertrophy": {"snomed": "446358003"},
            "high voltage": {"snomed": "67751000119106"},
        },
    ),
):
    _parent = f"{_side} atrial abnormality"
    _add("hypertrophy", _parent, **_codes.pop("abnormality"))
    for _kind, _code in _codes.items():
        _ludb = f"{_side} atrial {_kind}" if _kind == "hypertrophy" else ""
        _add("hypertrophy", f"{_side} atrial {_kind}", **_code, ludb=_ludb, broader=_parent, facet=_kind)
    _add("hypertrophy", f"{_side} atrial overload", ludb=f"{_side} atrial overload", broader=_parent, facet="overload")
_add(
    "hypertrophy", "atrial hypertrophy", snomed="195126007", blurs="left atrial abnormality, right atrial abnormality"
)
_LVH, _RVH = "left ventricular hypertrophy", "right ventricular hypertrophy"
_add("hypertrophy", "ventricular hypertrophy", snomed="266249003", blurs=f"{_LVH}, {_RVH}")
_add("hypertrophy", _LVH, snomed="164873001", scp="LVH", ludb=_LVH)
_add("hypertrophy", _RVH, snomed="89792004", scp="RVH", ludb=_RVH)
_add("hypertrophy", "septal hypertrophy", scp="SEHYP")
_add("hypertrophy", "left ventricular overload", ludb="Left ventricular overload", blurs="left ventricular strain")
_add("hypertrophy", "left ventricular strain", snomed="370365005", blurs="left ventricular overload")

# --- voltage and QRS form ---
_add("voltage", "left ventricular high voltage", snomed="55827005", scp="VCLVH", blurs=f"{_LVH}, high qrs voltage")
_add("voltage", "high qrs voltage", scp="HVOLT")
_add("voltage", "low qrs voltage", snomed="251146004", scp="LVOLT")
_add("other", "abnormal qrs", snomed="164951009", scp="ABQRS")
_add("other", "abnormal q wave", snomed="164917005", scp="QWAVE")
_add("other", "abnormal r wave", snomed="164921003", blurs="poor r wave progression")
_add("other", "poor r wave progression", snomed="365413008")
_add("other", "fragmented qrs", snomed="164942001")
_add("other", "p wave change", snomed="164912004")
_add("other", "prolonged p wave", snomed="251205003", blurs="p wave change")
_add("other", "tall p wave", snomed="251223006", blurs="p wave change")

# --- axis ---
_AXIS = "Electric axis of the heart: "
_add("axis", "normal axis", abnormal=False, ptbxl="axis:MID", ludb=_AXIS + "normal")
# Left axis deviation begins at -30 degrees, right axis deviation at +90 (AHA/ACCF/HRS 2009, part III). PTB-XL's LAD is
# the German Linkstyp (1,574 of 2,118 such reports say so), which begins at +30 degrees and is mostly normal, and its
# AXL is a "borderline left axis deviation" (57 of 57 reports): both lie to the left and neither says whether the axis
# is beyond -30 degrees. ALAD (ueberdrehter Linkstyp) does, and so does LAD where the report itself says "left axis
# deviation" (`ptbxl.statements_of`). LUDB's "left axis deviation" does not: measured, its 51 records lie between -67
# and +38 degrees, the middle one at -7, and 9 of them at -30 or beyond (docs/corpora.md). RAD (Rechtstyp) begins at
# +90 degrees. AXR is a steep axis: "Steiltyp", "Steillage" or "SLT" in the reports.
_add(
    "axis",
    "leftward axis",
    abnormal=False,
    ptbxl="axis:LAD axis:AXL",
    ludb=_AXIS + "left axis deviation",
    blurs="left axis deviation, horizontal axis, normal axis",
)
_add("axis", "left axis deviation", snomed="39732003", ptbxl="axis:ALAD axis:LAD:left-axis-deviation")
_add(
    "axis", "right axis deviation", snomed="47665007", ptbxl="axis:RAD axis:ARAD", ludb=_AXIS + "right axis deviation"
)
_add("axis", "vertical axis", abnormal=False, ptbxl="axis:AXR", ludb=_AXIS + "vertical", blurs="normal axis")
_add("axis", "horizontal axis", abnormal=False, ludb=_AXIS + "horizontal", blurs="normal axis")
# Between -90 and 180 degrees: "right superior axis" is statement 122 of AHA/ACC/HRS 2007 (part II), and another than
# 123, "indeterminate axis", where no deflection dominates. No source has a code of its own for it.
_add("axis", "right superior axis")
# No axis in the frontal plane can be told, or its code (251200008, SAG: the sagittal type) does not say which it is.
_add(
    "axis",
    "indeterminate axis",
    snomed="251200008",
    ptbxl="axis:SAG",
    blurs="right superior axis, left axis deviation, right axis deviation",
)
_add("axis", "clockwise rotation", abnormal=False, snomed="251198002", blurs="rotation of the heart")
_add("axis", "counterclockwise rotation", abnormal=False, snomed="251199005", blurs="rotation of the heart")
_add(
    "axis",
    "rotation of the heart",
    abnormal=False,
    snomed="61721007",
    blurs="clockwise rotation, counterclockwise rotation",
)

# --- infarction and ischemia ---
_MI, _ISCHEMIA = "myocardial infarction", "ischemia"
_IRM = "ischemia_infarction"
_add(_IRM, _MI, snomed="164865005", blurs=_ISCHEMIA)
_ACUTE, _SUBACUTE, _OLD = (f"{stage} myocardial infarction" for stage in ("acute", "subacute", "old"))
_add(_IRM, _ACUTE, snomed="57054005", ptbxl="stadium:I", broader=_MI, facet="stage")
_add(_IRM, _OLD, snomed="164867002", ptbxl="stadium:III", broader=_MI, facet="stage", ludb=_on_walls("Scar formation"))
# PTB-XL's Stadium II, and what lies between: the two stages on either side are left open, the third is denied.
_add(_IRM, _SUBACUTE, ptbxl="stadium:II", broader=_MI, facet="stage")
_add(
    _IRM,
    "acute to subacute myocardial infarction",
    ptbxl="stadium:I-II",
    broader=_MI,
    facet="stage",
    blurs=f"{_ACUTE}, {_SUBACUTE}",
)
_add(
    _IRM,
    "subacute to old myocardial infarction",
    ptbxl="stadium:II-III",
    broader=_MI,
    facet="stage",
    blurs=f"{_SUBACUTE}, {_OLD}",
)
_add(_IRM, "st elevation myocardial infarction", broader="acute myocardial infarction", ludb=_on_walls("STEMI"))
for _wall_name, _snomed, _scp, _ptbxl in (
    ("anterior", "54329005", "AMI", "class:AMI"),
    ("lateral", "", "LMI", "class:LMI"),
    ("septal", "", "", ""),
    ("inferior", "", "IMI", "class:IMI"),
    ("posterior", "", "PMI", "class:PMI"),
    ("apical", "", "", ""),
):
    # Several walls may be infarcted, and a source states each: one stated wall denies the others.
    _add(
        _IRM,
        f"{_wall_name} myocardial infarction",
        snomed=_snomed,
        scp=_scp,
        ptbxl=_ptbxl,
        ludb=f"STEMI: {_wall(_wall_name)}|Scar formation: {_wall(_wall_name)}",
        broader=_MI,
    )
# PTB-XL files these under the anterior and the inferior subclass. An inferolateral infarction must not deny "lateral":
# each blurs the other territories that its own name contains.
for _name, _scp, _parent, _blurs in (
    ("anteroseptal", "ASMI", "anterior", "septal"),
    ("anterolateral", "ALMI", "anterior", "lateral"),
    ("inferolateral", "ILMI", "inferior", "lateral"),
    ("inferoposterior", "IPMI", "inferior", "posterior"),
    ("inferoposterolateral", "IPLMI", "inferior", "posterior lateral"),
):
    _add(
        _IRM,
        f"{_name} {_MI}",
        scp=_scp,
        broader=f"{_parent} {_MI}",
        blurs=", ".join(f"{wall} {_MI}" for wall in _blurs.split()),
    )
# PTB-XL files lateral ischemia (ISCLA) under ISCA too, so that the class alone says no more than "ischemia".
_add(_IRM, _ISCHEMIA, snomed="164861001", scp="ISC_", ptbxl="class:ISCA")
_add(_IRM, "acute ischemia", snomed="413444003", broader=_ISCHEMIA, facet="stage")
_add(_IRM, "chronic ischemia", snomed="413844008", broader=_ISCHEMIA, facet="stage")
_SNOMED_ISCHEMIA = {"anterior": "426434006", "inferior": "425419005", "lateral": "425623009"}
_SCP_ISCHEMIA = {"anterior": "ISCAN", "inferior": "ISCIN", "lateral": "ISCLA"}
_CLASS_ISCHEMIA = {"inferior": "class:ISCI"}
for _w in _WALLS:
    _add(
        _IRM,
        f"{_w} ischemia",
        snomed=_SNOMED_ISCHEMIA.get(_w, ""),
        scp=_SCP_ISCHEMIA.get(_w, ""),
        ptbxl=_CLASS_ISCHEMIA.get(_w, ""),
        ludb=f"Ischemia: {_wall(_w)}",
        broader=_ISCHEMIA,
    )
for _name, _scp, _parent, _blurs in (
    ("anteroseptal", "ISCAS", "anterior", "septal"),
    ("anterolateral", "ISCAL", "anterior", "lateral"),
    ("inferolateral", "ISCIL", "inferior", "lateral"),
):
    _add(_IRM, f"{_name} ischemia", scp=_scp, broader=f"{_parent} ischemia", blurs=f"{_blurs} ischemia")
# LUDB's own words: which of the three it is was left open, so none of them is affirmed or denied.
_add(_IRM, "undefined ischemia or infarction", blurs=f"{_MI}, {_ISCHEMIA}")
for _w in _WALLS:
    _add(
        _IRM,
        f"undefined {_w} ischemia or infarction",
        ludb=f"Undefined ischemia/scar/supp.NSTEMI: {_wall(_w)}",
        broader="undefined ischemia or infarction",
    )
_add(_IRM, "subendocardial injury", blurs=f"{_MI}, {_ISCHEMIA}")
for _name, _scp in (
    ("anteroseptal", "INJAS"),
    ("anterolateral", "INJAL"),
    ("lateral", "INJLA"),
    ("inferior", "INJIN"),
    ("inferolateral", "INJIL"),
):
    _add(_IRM, f"{_name} subendocardial injury", scp=_scp, broader="subendocardial injury")

# --- ST segment, T wave, QT ---
_add("st_t", "st-t change", snomed="55930002", blurs="nonspecific st-t abnormality, st depression, st elevation")
_add(
    "st_t",
    "nonspecific st-t abnormality",
    snomed="428750005",
    blurs="st-t change, t wave abnormality, nonspecific st change",
)
_add("st_t", "nonspecific st change", scp="NST_", blurs="nonspecific st-t abnormality, st-t change")
_add("st_t", "abnormal st segment", snomed="164930006", blurs="st depression, st elevation, st-t change")
_add("st_t", "st depression", snomed="429622005", scp="STD_", blurs="st-t change")
_add("st_t", "inferior st depression", snomed="704997005", broader="st depression")
_add("st_t", "st elevation", snomed="164931005", scp="STE_", blurs="st-t change")
_add("st_t", "t wave abnormality", snomed="164934002", scp="TAB_", blurs="st-t change, nonspecific st-t abnormality")
_TAB = "t wave abnormality"
_add("st_t", "nonspecific t wave abnormality", scp="NT_ NDT", broader=_TAB, facet="nonspecific")
_add("st_t", "t wave inversion", snomed="59931005", scp="INVT", broader=_TAB, facet="inversion")
_add("st_t", "low amplitude t wave", scp="LOWT", broader=_TAB, facet="amplitude")
_add("st_t", "high t wave", snomed="251259000", broader=_TAB, facet="amplitude")
_REPOLARIZATION = "nonspecific repolarization abnormality"
_add(
    "st_t",
    _REPOLARIZATION,
    blurs="st-t change, nonspecific st-t abnormality, t wave abnormality, nonspecific st change",
)
for _w in _WALLS:
    _add(
        "st_t",
        f"{_w} nonspecific repolarization abnormality",
        ludb="|".join(f"Non-specific repolari{z}ation abnormalities: {_wall(_w)}" for z in "zs"),
        broader=_REPOLARIZATION,
    )
_add("st_t", "early repolarization", snomed="428417006", ludb="Early repolarization syndrome")
_add("st_t", "prolonged qt interval", snomed="111975006", scp="LNGQT")
_add("st_t", "short qt interval", snomed="77867006")
_add("st_t", "abnormal u wave", snomed="164937009")
_add("st_t", "digitalis effect", scp="DIG")
_add("st_t", "electrolyte disturbance or drug effect", scp="EL")
_add("st_t", "st-t changes of ventricular aneurysm", scp="ANEUR")
_add("st_t", "brugada pattern", snomed="418818005")

# --- pacing ---
_PACED = "paced rhythm"
_add("pacing", _PACED, snomed="10370003", scp="PACE", ptbxl="pacemaker:ja", ludb="Pacemaker presence, undefined")
_add(
    "pacing", "atrial pacing", snomed="251268003", ludb="UNIpolar atrial pacing|BIpolar atrial pacing", broader=_PACED
)
_add(
    "pacing",
    "ventricular pacing",
    snomed="251266004",
    ludb="UNIpolar ventricular pacing|BIpolar ventricular pacing",
    broader=_PACED,
)
_add(
    "pacing", "biventricular pacing", ludb="Biventricular pacing", broader="ventricular pacing", facet="biventricular"
)
_add("pacing", "p-synchronous pacing", ludb="P-synchrony", broader="ventricular pacing", facet="p-synchronous")

# --- quality of the recording, and diagnoses that are not of the ECG ---
_add("noise", "no noise", abnormal=False, ptbxl="noise:none")
NOISES = ("baseline drift", "static noise", "burst noise", "electrode problems")
"""The kinds of noise that make a recording hard to read, as PTB-XL names them."""
for _name in NOISES:
    _add("noise", _name, abnormal=False, ptbxl=f"noise:{_name.replace(' ', '_')}")
_add("noise", "suspected arm lead reversal", abnormal=False, snomed="251139008")
for _name, _code in (
    ("heart failure", "84114007"),
    ("heart valve disorder", "368009"),
    ("transient ischemic attack", "266257000"),
):
    _add("clinical", _name, abnormal=False, snomed=_code)
_add("clinical", "coronary heart disease", abnormal=False, snomed="53741008", blurs=f"{_MI}, {_ISCHEMIA}")

# Earlier names -> today's. Tables of one's own may still say them; a corpus prepared with them is refused.
FORMER_NAMES = {"wolff-parkinson-white syndrome": "wolff-parkinson-white pattern"}
