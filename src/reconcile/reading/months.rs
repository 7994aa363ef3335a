//! Names of months and weekdays in the languages banks write, by their folded lower-case form.
//!
//! A word is looked up whole, never by its beginning: `mars` is a month and `market` is not.

const MONTHS: [&str; 12] = [
    "jan january januar janv janvier ene enero gen gennaio januari janeiro sty stycznia styczen tammikuu led ledna \
     leden januara ianuarie ian ocak oca jaen jaenner janner januarie",
    "feb february februar fevr fevrier fev febrero febbraio februari fevereiro lut lutego luty helmikuu uno unora unor \
     februara februarie subat sub feber febr",
    "mar march marz maerz mrz mars marzo maart mrt marco marca marzec maaliskuu bre brezna brezen marcius marc martie mart",
    "apr april avr avril abr abril aprile kwi kwietnia kwiecien huhtikuu dub dubna duben aprila aprilis aprilie nisan nis",
    "may mai mayo maggio mag mei maio maj maja toukokuu kve kvetna kveten majus mayis mag",
    "jun june juni juin junio giugno giu junho cze czerwca czerwiec kesakuu cer cervna cerven juna junius iunie iun \
     haziran haz",
    "jul july juli juil juillet julio luglio lug julho lip lipca lipiec heinakuu cvc cervence cervenec jula julius iulie \
     iul temmuz tem",
    "aug august aout agosto ago augustus augusti sie sierpnia sierpien elokuu srp srpna srpen augusta augusztus agustos \
     agu",
    "sep sept september septembre septiembre settembre set setembro wrz wrzesnia wrzesien syyskuu zari zar septembra \
     szeptember szept septembrie eylul eyl",
    "oct october okt oktober octobre octubre ottobre ott outubro out paz pazdziernika pazdziernik lokakuu rij rijna \
     rijen oktobra octombrie ekim eki",
    "nov november novembre noviembre novembro lis listopada listopad marraskuu novembra noiembrie kasim kas",
    "dec december dez dezember decembre diciembre dic dicembre dezembro gru grudnia grudzien joulukuu pro prosince \
     prosinec decembra decembrie aralik ara des desember",
];

const WEEKDAYS: &str = "mon monday mo montag lun lundi lunes lunedi maandag ma mandag mandag pon poniedzialek segunda \
    tue tues tuesday di dienstag mar mardi martes martedi dinsdag tisdag tirsdag wto wtorek terca \
    wed wednesday mi mittwoch mer mercredi miercoles mercoledi woensdag wo onsdag sro sroda quarta \
    thu thur thurs thursday do donnerstag jeu jeudi jueves giovedi donderdag torsdag czw czwartek quinta \
    fri friday fr freitag ven vendredi viernes venerdi vrijdag vr fredag pia piatek sexta \
    sat saturday sa samstag sam samedi sabado sabato zaterdag za lordag lordag sob sobota \
    sun sunday so sonntag dim dimanche domingo domenica zondag zo sondag nie niedziela";

/// The number of a month by its name.
pub(super) fn month(word: &str) -> Option<i32> {
    let word = folded(word);
    let at = MONTHS.iter().position(|names| names.split_whitespace().any(|name| name == word))?;
    i32::try_from(at).ok().map(|at| at + 1)
}

/// Whether a word is the name of a day of the week.
pub(super) fn is_weekday(word: &str) -> bool {
    let word = folded(word);
    WEEKDAYS.split_whitespace().any(|name| name == word)
}

fn folded(word: &str) -> String {
    crate::text::compact(word)
}
