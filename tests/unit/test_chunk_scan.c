/* test_chunk_scan.c - where sentences, paragraphs, headings and fences begin */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "chunk/scan.h"

/* Each text has its boundaries written in: | where a sentence (or better) begins. */
static const char *const sentences[] = {
	"One. |Two! |Three? |Four",
	"No stop at all",
	/* English */
	"Dr. Smith met Mrs. Jones, e.g. on Monday, i.e. yesterday. |They talked.",
	"J. R. R. Tolkien wrote it. |C. S. Lewis read it.",
	"J.R.R. Tolkien wrote it. |It is long.",
	"He moved to the U.S. in May. |She stayed in the U.S. |They wrote letters.",
	"It costs 3.50 dollars or 1,000.25 in total. |We paid.",
	"Open main.c or setup.py now. |See https://example.org/a.b?c=d. |Then stop.",
	"Version 2.0.1 is out. |It is v1.2.",
	"We met at 5 p.m. on Friday. |He left at 6 p.m. |The end.",
	"She said \"Go!\" and left. |\"Why?\" he asked. |Nobody knew.",
	"He said \"It is late.\" |\"So what?\" |(He left.) |Good.",
	"Apples, pears, etc. are fruit. |Nuts, seeds, etc. |They are not.",
	"See Fig. 3 and No. 7 on pp. 12. |I said no. |Then I left.",
	"Wait ... what? |Well... |All right. . . . |The end. . . and so on.",
	"Introduction ........ 12",
	"Acme Inc. and Foo Ltd. merged. |Acme Inc. |The rest followed.",
	"It was proved by Li et al. in 1990. |Others doubt it.[12] |More.",
	"the company grew. |the staff did too. |Done.",
	"**Bold.** |Next. |_Under._ |Last.",
	"What?! |No!! |Yes.",
	"On Jan. 5 he came. |On Feb. 6 he went.",
	"Born in 1990. |He died in 2001.",
	"It is called Vitamin C. |The other is D.",
	/* German */
	"Am 3. Mai kam Dr. Meier, z. B. mit dem Zug. |Er blieb.",
	"Das ist z.B. so. |Bzw. nicht. |Der 2. Weltkrieg begann 1939. |Die Stadt lag am Rhein.",
	"Er sagte: „Komm her.“ |Dann ging er. |Nr. 5 ist frei, vgl. Abb. 7. |Ende.",
	"Am Mi., 5. Nov. 2020 war es. |Es war der 2.3.2020. |Er sagte „So.“ |Ende.",
	"Am 1. Oktober öffnet die Ausstellung usw. im Haus. |Über allem steht das Dach.",
	/* French, Spanish, Italian, Dutch, Polish, Russian */
	"M. Dupont habite à Paris. |Il dit : « Bonjour. » |Elle part.",
	"El Sr. García vive aquí. |¿Dónde? |¡Allí! |La Sra. Ruiz no.",
	"Il dott. Rossi è qui. |Ecco l'art. 5. |Lui no.",
	"De heer Jansen, bijv. uit Delft, kwam. |Hij bleef.",
	"To jest np. dom. |Ulica jest długa.",
	"Он родился в 1990 г. в Москве. |Это т.е. город. |Да!",
	/* scripts with their own stops */
	"你好。|我很好！|真的吗？|是的；|好。",
	"他问。|“回家。”|我说。|他说：“你好。”|然后走了。|「再见。」|完",
	"今天3.5元。|版本2.0很好。|完",
	"彼は「行く。」と言った。|そして帰った。|本当？！|うん。",
	"यह एक वाक्य है। |यह दूसरा है। |तीसरा॥ |अंत",
	"كيف حالك؟ |أنا بخير. |شكرا۔ |نعم",
	"Սա նախադասություն է։ |Սա էլ։",
	"안녕하세요. |저는 학생입니다. |네!",
	"ይህ ዓረፍተ ነገር ነው። |ሌላም አለ።",
	"３．５です。|次",
	/* lines */
	"First line\nsecond line. |Third starts\nhere.\n|Fourth",
	"Line with Dr.\nSmith in it.\r\n|Next",
	"Intro\n|- one\n|- two\n|1. three\n|2. four",
	"One.\n\n|Two.\n\n\n|Three.",
};

/* The text without its bars, and its scan with the marks of at least rank min put in again. */
static void check_marks(const char *expected, enum ds_rank min, size_t step)
{
	char text[4096], found[8192];
	size_t n = 0, m = 0, at = 0;
	struct ds_scan s = {0};
	struct ds_err err;

	for (const char *p = expected; *p; p++)
		if (*p != '|')
			text[n++] = *p;
	ds_scan_reset(&s);
	for (size_t have = 0; have < n;) {
		struct ds_window w;

		have = have + step < n ? have + step : n;
		w = (struct ds_window){(const uint8_t *)text, 0, have, have == n};
		ck_assert_int_eq(ds_scan_run(&s, &w, &err), DS_OK);
	}
	for (size_t i = 0; i <= n; i++) {
		for (; at < s.n && s.mark[at].pos == i; at++)
			if (s.mark[at].rank >= min && i < n)
				found[m++] = '|';
		if (i < n)
			found[m++] = text[i];
	}
	found[m] = 0;
	ck_assert_str_eq(found, expected);
	ds_scan_fini(&s);
}

START_TEST(test_sentences)
{
	check_marks(sentences[_i], DS_RANK_SENTENCE, 4096);
	check_marks(sentences[_i], DS_RANK_SENTENCE, 1);
}
END_TEST

static const struct {
	enum ds_rank min;
	const char *text;
} outlines[] = {
	{DS_RANK_HEADING, "intro\n\n|# One\ntext\n|## Two\n\n### Three\ntext # no\n#hash\n"},
	{DS_RANK_HEADING, "# Top\n\ntext\n\n|Title\n=====\n\ntext\n\n|Other\n---\ntext\n"},
	{DS_RANK_HEADING, "text\n\n|=====\nTitle\n=====\n\ntext\n\n|Under\n~~~~~\n\ntext\n"},
	{DS_RANK_HEADING, "text\n\n---\n\nno heading\n"},
	{DS_RANK_HEADING, "a\n\n|1.2 Scope of it\n\ntext\n\n|3 Terms\n\ntext\n"},
	{DS_RANK_HEADING, "a\n\n1. Loose item\n\n2. Another one\n\ntext\n"},
	{DS_RANK_HEADING, "a\n\n|CHAPTER IV\n\ntext\n\n|Chapter 5: The end\n\ntext\n"},
	{DS_RANK_HEADING, "前\n\n|第一章 开始\n\n文\n\n|第12条\n\n文\n"},
	{DS_RANK_HEADING, "a\n\n|NAME\n       ls - list\n\n|SEE ALSO\n       dir\n"},
	{DS_RANK_HEADING, "a\n| = Wiki = \n text\n| = = Part = = \n text\n|== AsciiDoc\n"},
	{DS_RANK_HEADING, "a\n|\\section{One}\ntext\n"},
	{DS_RANK_HEADING, "text\n```\n# not a heading\n```\n|# Heading\n"},
	{DS_RANK_FENCE, "text\n|```c\nint a;\n\n\nint b;\n```\n|more\n"},
	{DS_RANK_FENCE, "text\n\n|~~~~\n```\n~~~\n~~~~\n|more ```x``` inline\n```a``` no\n"},
	{DS_RANK_PARAGRAPH, "a\n\n|b\nc\n\n\n|d\n\r\n|e\n   \n|f"},
	{DS_RANK_GAP, "a\n\nb\nc\n\n\n|d\n\f\n|e\n\n|---\n\nf"},
	{DS_RANK_PARAGRAPH, "a\n\n|# H\n\nstays with it\n\n|next\n"},
};

START_TEST(test_outlines)
{
	check_marks(outlines[_i].text, outlines[_i].min, 4096);
	check_marks(outlines[_i].text, outlines[_i].min, 1);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("chunk_scan");
	TCase *tc = tcase_create("marks");
	SRunner *runner = srunner_create(suite);
	int failed;

	tcase_add_loop_test(tc, test_sentences, 0, sizeof sentences / sizeof *sentences);
	tcase_add_loop_test(tc, test_outlines, 0, sizeof outlines / sizeof *outlines);
	suite_add_tcase(suite, tc);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed != 0;
}
