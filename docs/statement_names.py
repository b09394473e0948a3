"""What the codes of the sources mean in their sources' own words, and the statement that AHA/ACC/HRS number for a
finding: for the table that a cardiologist reviews (docs/statements.md).

Nothing flows in; tables flow out. No mapping is decided here (`vocabulary`). Sources: the label lists of the
PhysioNet/CinC Challenge 2021 (SNOMED CT); `scp_statements.csv` of PTB-XL 1.0.3; Mason, Hancock, Gettes: Circulation
115, 1325 (2007), primary statements 1 to 190, secondary ones 200 to 231 and modifiers from 301.
"""

from __future__ import annotations


def _read(table: str) -> dict[str, str]:
    return dict(line.strip().split(" ", 1) for line in table.strip().splitlines())


SNOMED_NAMES = _read("""
    164889003 atrial fibrillation
    164890007 atrial flutter
    6374002 bundle branch block
    426627000 bradycardia
    733534002 complete left bundle branch block
    713427006 complete right bundle branch block
    270492004 1st degree av block
    713426002 incomplete right bundle branch block
    39732003 left axis deviation
    445118002 left anterior fascicular block
    164909002 left bundle branch block
    251146004 low qrs voltages
    698252002 nonspecific intraventricular conduction disorder
    426783006 sinus rhythm
    284470004 premature atrial contraction
    10370003 pacing rhythm
    365413008 poor R wave progression
    427172004 premature ventricular contractions
    164947007 prolonged pr interval
    111975006 prolonged qt interval
    164917005 qwave abnormal
    47665007 right axis deviation
    59118001 right bundle branch block
    427393009 sinus arrhythmia
    426177001 sinus bradycardia
    427084000 sinus tachycardia
    63593006 supraventricular premature beats
    164934002 t wave abnormal
    59931005 t wave inversion
    17338001 ventricular premature beats
    233892002 accelerated atrial escape rhythm
    164951009 abnormal QRS
    251187003 atrial escape beat
    61277005 accelerated idioventricular rhythm
    426664006 accelerated junctional rhythm
    251139008 suspect arm ecg leads reversed
    57054005 acute myocardial infarction
    413444003 acute myocardial ischemia
    426434006 anterior ischemia
    54329005 anterior myocardial infarction
    251173003 atrial bigeminy
    195080001 atrial fibrillation and flutter
    195126007 atrial hypertrophy
    251268003 atrial pacing pattern
    106068003 atrial rhythm
    713422000 atrial tachycardia
    233917008 av block
    50799005 atrioventricular dissociation
    29320008 atrioventricular junctional rhythm
    251166008 atrioventricular node reentrant tachycardia
    233897008 atrioventricular reentrant tachycardia
    251170000 blocked premature atrial contraction
    418818005 brugada
    74615001 brady tachy syndrome
    426749004 chronic atrial fibrillation
    251199005 counterclockwise rotation
    61721007 clockwise or counterclockwise vectorcardiographic loop
    698247007 cardiac dysrhythmia
    27885002 complete heart block
    204384007 congenital incomplete atrioventricular heart block
    53741008 coronary heart disease
    413844008 chronic myocardial ischemia
    251198002 clockwise rotation
    82226007 diffuse intraventricular block
    428417006 early repolarization
    13640000 fusion beats
    164942001 fqrs wave
    84114007 heart failure
    368009 heart valve disorder
    251259000 high t-voltage
    251200008 indeterminate cardiac axis
    195042002 2nd degree av block
    426183003 mobitz type II atrioventricular block
    425419005 inferior ischaemia
    251120003 incomplete left bundle branch block
    704997005 inferior ST segment depression
    49260003 idioventricular rhythm
    426995002 junctional escape
    251164006 junctional premature complex
    426648003 junctional tachycardia
    253352002 left atrial abnormality
    67741000119109 left atrial enlargement
    446813000 left atrial hypertrophy
    425623009 lateral ischaemia
    445211001 left posterior fascicular block
    164873001 left ventricular hypertrophy
    55827005 left ventricular high voltage
    370365005 left ventricular strain
    164865005 myocardial infarction
    164861001 myocardial ischemia
    54016002 mobitz type i wenckebach atrioventricular block
    428750005 nonspecific st t abnormality
    164867002 old myocardial infarction
    282825002 paroxysmal atrial fibrillation
    251205003 prolonged P wave
    67198005 paroxysmal supraventricular tachycardia
    425856008 paroxysmal ventricular tachycardia
    164912004 p wave change
    253339007 right atrial abnormality
    164921003 r wave abnormal
    446358003 right atrial hypertrophy
    67751000119106 right atrial high voltage
    314208002 rapid atrial fibrillation
    89792004 right ventricular hypertrophy
    17366009 sinus atrium to atrial wandering rhythm
    65778007 sinoatrial block
    5609005 sinus arrest
    60423000 sinus node dysfunction
    49578007 shortened pr interval
    77867006 decreased qt interval
    55930002 s t changes
    429622005 st depression
    164931005 st elevation
    164930006 st interval abnormal
    251168009 supraventricular bigeminy
    426761007 supraventricular tachycardia
    266257000 transient ischemic attack
    251223006 tall p wave
    164937009 u wave abnormal
    11157007 ventricular bigeminy
    164884008 ventricular ectopics
    75532003 ventricular escape beat
    81898007 ventricular escape rhythm
    164896001 ventricular fibrillation
    111288001 ventricular flutter
    266249003 ventricular hypertrophy
    195060002 ventricular pre excitation
    251266004 ventricular pacing pattern
    251182009 paired ventricular premature complexes
    164895002 ventricular tachycardia
    251180001 ventricular trigeminy
    195101003 wandering atrial pacemaker
    74390002 wolff parkinson white pattern
""")

SCP_NAMES = _read("""
    NORM normal ECG
    NDT non-diagnostic T abnormalities
    NST_ non-specific ST changes
    DIG digitalis effect
    LNGQT long QT interval
    IMI inferior myocardial infarction
    ASMI anteroseptal myocardial infarction
    LVH left ventricular hypertrophy
    LAFB left anterior fascicular block
    ISC_ non-specific ischemic
    IRBBB incomplete right bundle branch block
    1AVB first degree AV block
    IVCD non-specific intraventricular conduction disturbance
    ISCAL ischemic in anterolateral leads
    CRBBB complete right bundle branch block
    CLBBB complete left bundle branch block
    ILMI inferolateral myocardial infarction
    LAO/LAE left atrial overload/enlargement
    AMI anterior myocardial infarction
    ALMI anterolateral myocardial infarction
    ISCIN ischemic in inferior leads
    INJAS subendocardial injury in anteroseptal leads
    LMI lateral myocardial infarction
    ISCIL ischemic in inferolateral leads
    LPFB left posterior fascicular block
    ISCAS ischemic in anteroseptal leads
    INJAL subendocardial injury in anterolateral leads
    ISCLA ischemic in lateral leads
    RVH right ventricular hypertrophy
    ANEUR ST-T changes compatible with ventricular aneurysm
    RAO/RAE right atrial overload/enlargement
    EL electrolytic disturbance or drug
    WPW Wolff-Parkinson-White syndrome
    ILBBB incomplete left bundle branch block
    IPLMI inferoposterolateral myocardial infarction
    ISCAN ischemic in anterior leads
    IPMI inferoposterior myocardial infarction
    SEHYP septal hypertrophy
    INJIN subendocardial injury in inferior leads
    INJLA subendocardial injury in lateral leads
    PMI posterior myocardial infarction
    3AVB third degree AV block
    INJIL subendocardial injury in inferolateral leads
    2AVB second degree AV block
    ABQRS abnormal QRS
    PVC ventricular premature complex
    STD_ non-specific ST depression
    VCLVH voltage criteria (QRS) for left ventricular hypertrophy
    QWAVE Q waves present
    LOWT low amplitude T-waves
    NT_ non-specific T-wave changes
    PAC atrial premature complex
    LPR prolonged PR interval
    INVT inverted T-waves
    LVOLT low QRS voltages in the frontal and horizontal leads
    HVOLT high QRS voltage
    TAB_ T-wave abnormality
    STE_ non-specific ST elevation
    PRC(S) premature complex(es)
    SR sinus rhythm
    AFIB atrial fibrillation
    STACH sinus tachycardia
    SARRH sinus arrhythmia
    SBRAD sinus bradycardia
    PACE normal functioning artificial pacemaker
    SVARR supraventricular arrhythmia
    BIGU bigeminal pattern (unknown origin, supraventricular or ventricular)
    AFLT atrial flutter
    SVTAC supraventricular tachycardia
    PSVT paroxysmal supraventricular tachycardia
    TRIGU trigeminal pattern (unknown origin, supraventricular or ventricular)
""")

# Finding -> numbers of the statements that say it, a modifier behind a plus sign.
AHA_STATEMENTS = {
    "normal ecg": "1",
    "suspected arm lead reversal": "10",
    "sinus rhythm": "20",
    "sinus tachycardia": "21",
    "sinus bradycardia": "22",
    "sinus arrhythmia": "23",
    "sinoatrial block": "24, 25",
    "sinus arrest": "26",
    "premature atrial complexes": "30",
    "blocked premature atrial complexes": "31",
    "wandering atrial pacemaker": "33",
    "atrial rhythm": "34",
    "junctional premature complexes": "36",
    "junctional escape": "37",
    "junctional rhythm": "38",
    "accelerated junctional rhythm": "39",
    "premature supraventricular complexes": "41",
    "atrial fibrillation": "50",
    "rapid atrial fibrillation": "50 + 346",
    "atrial flutter": "51",
    "atrial tachycardia": "52",
    "junctional tachycardia": "54",
    "supraventricular tachycardia": "55",
    "premature ventricular complexes": "60",
    "ventricular bigeminy": "60 + 341",
    "ventricular trigeminy": "60 + 342",
    "ventricular couplets": "60 + 340",
    "polymorphic premature ventricular complexes": "60 + 350",
    "fusion beats": "61",
    "ventricular escape beats": "62",
    "idioventricular rhythm": "63",
    "accelerated idioventricular rhythm": "64",
    "ventricular tachycardia": "70",
    "ventricular fibrillation": "74",
    "short pr interval": "80",
    "prolonged pr interval": "82",
    "mobitz type i av block": "83",
    "mobitz type ii av block": "84",
    "third degree av block": "88",
    "av dissociation": "89",
    "aberrant conduction": "100",
    "left anterior fascicular block": "101",
    "left posterior fascicular block": "102",
    "left bundle branch block": "104",
    "incomplete right bundle branch block": "105",
    "right bundle branch block": "106",
    "nonspecific intraventricular conduction disturbance": "107",
    "ventricular preexcitation": "108",
    "right axis deviation": "120",
    "left axis deviation": "121",
    "right superior axis": "122",
    "indeterminate axis": "123",
    "low qrs voltage": "125",
    "poor r wave progression": "128",
    "left atrial enlargement": "140",
    "right atrial enlargement": "141",
    "left ventricular hypertrophy": "142",
    "right ventricular hypertrophy": "143",
    "st elevation": "145 + 363",
    "st depression": "145 + 362",
    "st-t change": "146",
    "t wave abnormality": "147",
    "nonspecific t wave abnormality": "147 + 321",
    "low amplitude t wave": "147 + 366",
    "t wave inversion": "147 + 367",
    "prolonged qt interval": "148",
    "short qt interval": "149",
    "left ventricular strain": "153",
    "early repolarization": "155",
    "anterior myocardial infarction": "160",
    "inferior myocardial infarction": "161",
    "posterior myocardial infarction": "162",
    "lateral myocardial infarction": "163",
    "anteroseptal myocardial infarction": "165",
    "acute myocardial infarction": "160 to 174 + 330",
    "old myocardial infarction": "160 to 174 + 332",
    "atrial pacing": "180",
    "ventricular pacing": "181",
    "p-synchronous pacing": "183",
    "brugada pattern": "202",
    "digitalis effect": "205",
    "acute ischemia": "220",
    "ischemia": "226",
    "st-t changes of ventricular aneurysm": "227",
    "nonspecific st-t abnormality": "500",
}
