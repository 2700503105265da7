/*
 * abbrev.c - abbreviations of English, German, French, Spanish, Italian, Portuguese, Dutch, Polish,
 * Czech, Turkish and Russian, and words that begin sentences there
 *
 * Both lists were collected by hand.  A word missing costs little: a chunk may then end after it.
 * Single letters and chains of them (J., U.S., z.B.) need no entry unless their class differs.
 */
#include "chunk/abbrev.h"

#include <stdlib.h>
#include <string.h>

#define I "\1" /* INSIDE */
#define M "\2" /* MAYBE */
#define N "\3" /* NUMBER */

/* Sorted bytewise by the word, which follows its class. */
static const char *const abbrev[] = {
	M "a.d",    M "a.m",   N "abb",	     M "abs",	N "abt",     I "adm",	  N "afb",
	M "al",	    I "allg",  N "anm",	     M "apod",	I "approx",  N "apr",	  N "art",
	N "arts",   I "assn",  I "asst",     M "atd",	I "attn",    N "aufl",	  N "aug",
	I "avda",   M "ave",   N "avr",	     I "avv",	M "b.a",     M "b.c",	  M "b.c.e",
	M "b.sc",   N "bd",    N "bde",	     M "bhf",	I "bijv",    I "bkz",	  N "bl",
	M "blvd",   N "blz",   M "bros",     I "bspw",	I "bzw",     I "c.-à-d",  M "c.e",
	I "ca",	    N "cap",   I "capt",     I "cf",	N "ch",	     N "chap",	  N "chron",
	M "cie",    I "cmdr",  M "co",	     I "col",	M "corp",    I "cpl",	  M "d.c",
	I "d.h",    I "d.w.z", N "dec",	     I "dept",	N "deut",    N "dez",	  I "dhr",
	I "dipl",   I "dott",  I "dott.ssa", I "doç",	I "dr",	     I "dra",	  I "drs",
	N "déc",    I "dña",   M "e.a",	     I "e.g",	M "e.u",     M "ecc",	  N "eccl",
	N "ed",	    N "eds",   I "eg",	     I "egr",	I "einschl", I "ej",	  I "env",
	M "enz",    N "eph",   N "eq",	     N "eqs",	I "esp",     M "esq",	  M "etc",
	M "etc.pp", I "evtl",  I "excl",     I "excma", I "excmo",   I "exma",	  I "exmo",
	N "ezek",   N "feb",   M "ff",	     N "fig",	N "figs",    I "fr",	  I "frl",
	M "ft",	    I "fwd",   N "févr",     I "geb",	I "gen",     I "gent",	  I "geom",
	I "gest",   I "ggf",   I "ggü",	     M "gmbh",	I "gov",     I "govt",	  I "hab",
	N "heb",    N "hfst",  N "hft",	     I "hon",	I "hr",	     I "hrn",	  M "hrs",
	M "hwy",    I "i.a",   I "i.d.r",    I "i.e",	I "i.v.m",   M "ibid",	  I "ie",
	I "ilma",   I "ilmo",  M "inc",	     I "incl",	I "ing",     I "inkl",	  I "insb",
	I "insbes", I "intl",  I "inż",	     N "isa",	M "itd",     M "itp",	  N "jan",
	N "janv",   N "jas",   N "jer",	     N "jn",	N "josh",    M "jr",	  I "judr",
	N "juil",   N "jul",   N "jun",	     I "jur",	I "jährl",   N "jän",	  N "kap",
	M "lb",	    M "lbs",   N "lc",	     N "lev",	I "lfd",     M "llc",	  M "ln",
	I "lt",	    M "ltd",   M "m.a",	     I "m.b.t", M "m.d",     I "m.e",	  I "m.in",
	M "m.sc",   I "mag",   N "mai",	     I "maj",	N "mar",     I "max",	  I "med",
	I "messrs", I "mevr",  I "mgr",	     M "min",	I "mj",	     I "mlle",	  I "mme",
	M "mph",    I "mr",    I "mrs",	     N "mrz",	I "ms",	     I "mt",	  I "mtl",
	I "mudr",   I "mx",    N "mär",	     I "např",	I "nat",     I "natl",	  N "neh",
	N "no",	    N "nos",   N "nov",	     I "np",	N "nr",	     N "nrn",	  N "num",
	N "núm",    I "o.a",   I "o.ä",	     N "obr",	N "oct",     N "okt",	  I "op",
	M "op.cit", M "oz",    I "p.ej",     I "p.ex",	M "p.m",     N "para",	  N "pet",
	N "pg",	    M "ph.d",  M "phd",	     I "phdr",	N "phil",    N "pl",	  M "plc",
	N "poz",    N "pp",    I "pres",     I "prof",	N "prov",    N "ps",	  N "pt",
	N "pág",    M "rd",    N "rdnr",     N "ref",	N "refs",    I "rep",	  I "resp",
	I "rev",    N "rn",    N "rys",	     N "rz",	M "s.a",     M "s.a.r.l", M "s.a.s",
	I "s.o",    M "s.p.a", M "s.r.l",    I "s.u",	N "sec",     N "sect",	  I "sen",
	N "sep",    N "sept",  I "sgt",	     I "sig",	I "sig.ra",  I "sn",	  I "sog",
	I "sogen",  N "sp",    I "spett",    M "sq",	I "sr",	     I "sra",	  I "sres",
	I "srta",   I "st",    I "ste",	     N "str",	I "supt",    I "t.a.v",	  N "tab",
	N "taf",    N "tbl",   N "tel",	     N "thess", I "tj",	     I "tzn",	  I "tzv",
	I "tzw",    I "u.a",   M "u.k",	     M "u.n",	M "u.s",     M "u.s.a",	  M "u.s.w",
	I "u.ä",    I "uds",   I "ul",	     I "univ",	I "usf",     M "usw",	  I "v.a",
	I "v.ex",   M "vb",    I "vd",	     I "vds",	N "ver",     I "vgl",	  I "viz",
	N "vol",    N "vols",  I "vs",	     N "vv",	I "woj",     M "yd",	  I "yrd",
	I "z.b",    N "ziff",  I "zzgl",     I "örn",	I "č",	     I "акад",	  I "гг",
	N "гл",	    I "доц",   M "др",	     M "и.о",	I "им",	     I "коп",	  I "млн",
	I "млрд",   M "н.э",   I "напр",     N "пп",	M "пр",	     I "проф",	  N "разд",
	N "рис",    I "руб",   I "св",	     N "ст",	I "стр",     M "т.д",	  I "т.е",
	I "т.к",    I "т.н",   M "т.п",	     I "табл",	I "тыс",     I "ул",	  N "№",
};

/* Sorted bytewise. */
static const char *const starter[] = {
	"A",	   "Aber",   "After",	  "All",   "Als",  "Although", "Am",	 "And",
	"Another", "As",     "At",	  "Au",	   "Auch", "Auf",      "Aux",	 "Avec",
	"Because", "Before", "Bei",	  "Both",  "But",  "By",       "Ce",	 "Ces",
	"Cette",   "Con",    "Da",	  "Dann",  "Dans", "Das",      "Dat",	 "De",
	"Dem",	   "Den",    "Der",	  "Des",   "Deze", "Die",      "Dies",	 "Diese",
	"Dieser",  "Dieses", "Dit",	  "Doch",  "Donc", "Each",     "Een",	 "Ein",
	"Eine",	   "Einem",  "Einen",	  "El",	   "Ela",  "Ele",      "Ella",	 "Elle",
	"Elles",   "Ellos",  "Em",	  "En",	   "Er",   "Es",       "Esa",	 "Ese",
	"Esta",	   "Este",   "Esto",	  "Et",	   "For",  "From",     "Für",	 "Gli",
	"He",	   "Her",    "Here",	  "Het",   "Hij",  "His",      "How",	 "However",
	"Ich",	   "If",     "Ihr",	  "Il",	   "Ils",  "Im",       "In",	 "Isso",
	"It",	   "Its",    "La",	  "Las",   "Le",   "Les",      "Lo",	 "Los",
	"Ma",	   "Maar",   "Mais",	  "Many",  "Mas",  "Mit",      "Most",	 "My",
	"Na",	   "Nach",   "Nel",	  "Nella", "No",   "Nor",      "Not",	 "Nous",
	"O",	   "Oder",   "On",	  "Once",  "Or",   "Os",       "Ou",	 "Our",
	"Par",	   "Para",   "Per",	  "Pero",  "Por",  "Pour",     "Questa", "Questi",
	"Questo",  "Sa",     "Ses",	  "She",   "Sie",  "Since",    "So",	 "Some",
	"Son",	   "Su",     "Such",	  "Sur",   "Sus",  "That",     "The",	 "Their",
	"Then",	   "There",  "Therefore", "These", "They", "This",     "Those",	 "Thus",
	"Um",	   "Uma",    "Un",	  "Una",   "Und",  "Une",      "Uno",	 "Von",
	"Vous",	   "Was",    "We",	  "Weil",  "Wenn", "Wer",      "What",	 "When",
	"Where",   "While",  "Who",	  "Why",   "Wie",  "Wij",      "Wir",	 "With",
	"Wo",	   "Y",	     "Yet",	  "You",   "Your", "Zij",      "Zu",	 "В",
	"Вы",	   "Для",    "Если",	  "И",	   "Как",  "Мы",       "На",	 "Не",
	"Но",	   "Он",     "Она",	  "Они",   "По",   "При",      "Что",	 "Эта",
	"Это",	   "Этот",   "Я",
};

#undef I
#undef M
#undef N

#define ABBREV_BYTES_MAX 8 /* of the longest one above */

struct key {
	const char *word;
	size_t n, skip; /* skip: bytes before the word in a table entry */
};

static int compare(const void *key, const void *entry)
{
	const struct key *k = key;
	const char *word = *(const char *const *)entry + k->skip;
	int order = strncmp(k->word, word, k->n);

	return order ? order : word[k->n] ? -1 : 0;
}

static const char *find(const struct key *k, const char *const *table, size_t n)
{
	const char *const *found = bsearch(k, table, n, sizeof *table, compare);

	return found ? *found : NULL;
}

enum ds_abbrev ds_abbrev_find(const char *word, size_t n)
{
	struct key k = {word, n, 1};
	const char *found = NULL;

	if (n <= ABBREV_BYTES_MAX)
		found = find(&k, abbrev, sizeof abbrev / sizeof *abbrev);
	return found ? (enum ds_abbrev) * found : DS_ABBREV_NONE;
}

bool ds_abbrev_starter(const char *word, size_t n)
{
	struct key k = {word, n, 0};

	return find(&k, starter, sizeof starter / sizeof *starter) != NULL;
}
