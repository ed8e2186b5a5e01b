/* Objects and lists that come from S3 in part, damaged, or not as they were asked for. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/lib/s3_fixture.h"

/* --- Reading --- */

static void a_body_that_is_cut_off_is_read_again(void **state)
{
    struct s3_fixture *f = *state;

    assert_int_equal(s3_fixture_put(f, "x"), STATUS_OK);
    S3_PLAN(f, {.fault = S3_CUT});
    assert_int_equal(s3_fixture_get(f, "x"), STATUS_OK);
    assert_true(slice_equals_string(buffer_slice(&f->bytes), "content"));
    S3_PLAN(f, {.fault = S3_CUT}, {.fault = S3_CUT}, {.fault = S3_CUT}, {.fault = S3_CUT});
    assert_int_equal(s3_fixture_get(f, "x"), STATUS_IO);
    assert_int_equal(f->bytes.size, 0);
}

static void another_part_than_was_asked_for_is_not_taken(void **state)
{
    struct s3_fixture *f = *state;

    assert_int_equal(s3_fixture_put(f, "x"), STATUS_OK);
    S3_PLAN(f, {.fault = S3_OTHER_PART});
    assert_int_equal(s3_fixture_get(f, "x"), STATUS_OK);
    S3_PLAN(f, {.fault = S3_OTHER_PART}, {.fault = S3_OTHER_PART}, {.fault = S3_OTHER_PART});
    assert_int_equal(s3_fixture_get(f, "x"), STATUS_CORRUPT);
    assert_int_equal(f->bytes.size, 0);
    s3_fixture_assert_told(f, "could not read \"x\"");
}

static void ranges_that_make_no_sense_are_not_taken(void **state)
{
    static const char *const fields[] = {"",
                                         "Content-Range: bytes */7\r\n",
                                         "Content-Range: bytes 0-6/\r\n",
                                         "Content-Range: bytes 0-6/6\r\n",
                                         "Content-Range: bytes 0-6/7x\r\n",
                                         "Content-Range: bytes 0-5/7\r\n",
                                         "Content-Range: bytes 0-6/8\r\n",
                                         "Content-Range: bytes 6-0/7\r\n"};
    struct s3_fixture *f = *state;

    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++) {
        const struct s3_step step = {S3_SAY, 206, fields[i], "content"};
        const struct s3_step steps[] = {step, step, step};

        s3_stub_plan(f->stub, steps, 3);
        assert_int_equal(s3_fixture_get(f, "x"), STATUS_CORRUPT);
    }
}

static void a_whole_object_is_held_against_its_hash(void **state)
{
    static const struct s3_step damaged = {
        S3_SAY, 206,
        "Content-Range: bytes 0-6/7\r\nX-Amz-Meta-Sha256: "
        "ed7002b439e9ac845f22357d822bac1444730fbdb6016d3ec9432297b9ec9f73\r\n",
        "cOntent"};
    struct s3_fixture *f = *state;

    S3_PLAN(f, damaged, damaged, damaged);
    assert_int_equal(s3_fixture_get(f, "x"), STATUS_CORRUPT);
    s3_fixture_assert_told(f, "not what its hash says");
}

static void who_gets_all_instead_of_a_part_takes_no_more_than_he_asked_for(void **state)
{
    struct s3_fixture *f = *state;

    S3_PLAN(f, {S3_SAY, 200, NULL, "content"});
    assert_int_equal(s3_fixture_get(f, "x"), STATUS_OK);
    S3_PLAN(f, {S3_SAY, 200, NULL, "content"});
    assert_int_equal(repository_read(f->repository, "x", 0, 3, &f->bytes, &f->error),
                     STATUS_TOO_LARGE);
}

/* --- Lists --- */

#define LIST(content) "<ListBucketResult>" content "</ListBucketResult>"
#define NAME(name)    "<Contents><Key>some/where/" name "</Key><Size>1</Size></Contents>"
#define LAST          "<IsTruncated>false</IsTruncated>"

static void a_list_that_is_cut_off_is_a_failure(void **state)
{
    static const char *const bodies[] = {
        "",
        "<html>",
        LIST(""),
        LIST(NAME("a")),
        LIST(LAST LAST),
        LIST(LAST "<KeyCount>2</KeyCount>" NAME("a")),
        LIST(LAST "<KeyCount>x</KeyCount>"),
        LIST("<IsTruncated>true</IsTruncated>" NAME("a")),
        LIST("<IsTruncated>maybe</IsTruncated>"),
        LIST(LAST "<Contents><Key>some/where/a</Key></Contents>"),
        LIST(LAST "<Contents><Size>1</Size></Contents>"),
        LIST(LAST "<Contents><Key>some/where/a</Key><Size>-1</Size></Contents>"),
        LIST(LAST "<Contents><Key>some/where/a</Key><Size>1</Size><Size>1</Size></Contents>"),
        LIST(LAST "<EncodingType>url</EncodingType>" NAME("%2")),
        LIST(LAST "<EncodingType>url</EncodingType>" NAME("%00")),
        LIST(LAST "<EncodingType>other</EncodingType>"),
        LIST(LAST "<Contents><Key>some/where/&other;</Key><Size>1</Size></Contents>"),
        LIST(LAST "<!-- -->"),
        LIST(LAST) "x",
        LIST(LAST) LIST(LAST),
        "<ListBucketResult>" LAST,
        "<ListBucketResult>" LAST "</ListBucketResul",
        "<ListBucketResult>" LAST "</Other>",
        "<!DOCTYPE x>" LIST(LAST),
        "<Other>" LAST "</Other>",
    };
    struct s3_fixture *f = *state;
    unsigned n;

    for (size_t i = 0; i < sizeof bodies / sizeof bodies[0]; i++) {
        const struct s3_step step = {S3_SAY, 200, NULL, bodies[i]};
        const struct s3_step steps[] = {step, step, step};

        s3_stub_plan(f->stub, steps, 3);
        if (s3_fixture_count(f, &n) != STATUS_CORRUPT || n != 0) {
            fail_msg("taken: %s", bodies[i]);
        }
        s3_fixture_assert_told(f, "could not list \"\"");
    }
}

static void a_list_that_breaks_off_is_read_again(void **state)
{
    struct s3_fixture *f = *state;
    unsigned n;

    assert_int_equal(s3_fixture_put(f, "a"), STATUS_OK);
    S3_PLAN(f, {.fault = S3_CUT}, {S3_SAY, 200, NULL, "<ListBucketResult>"});
    assert_int_equal(s3_fixture_count(f, &n), STATUS_OK);
    assert_int_equal(n, 1);
}

static void names_that_are_not_in_order_or_not_asked_for_are_a_failure(void **state)
{
    struct s3_fixture *f = *state;
    unsigned n;

    assert_int_equal(s3_fixture_put(f, "a"), STATUS_OK);
    assert_int_equal(s3_fixture_put(f, "b"), STATUS_OK);
    S3_PLAN(f, {.fault = S3_DISORDER});
    assert_int_equal(s3_fixture_count(f, &n), STATUS_CORRUPT);
    s3_fixture_assert_told(f, "not in order");
    S3_PLAN(f, {S3_SAY, 200, NULL, LIST(LAST NAME("a") NAME("a"))});
    assert_int_equal(s3_fixture_count(f, &n), STATUS_CORRUPT);
    S3_PLAN(f, {S3_SAY, 200, NULL, LIST(LAST NAME("a"))});
    assert_int_equal(s3_fixture_list(f, "", "a", &n), STATUS_CORRUPT);
    S3_PLAN(f, {S3_SAY, 200, NULL, LIST(LAST NAME("a"))});
    assert_int_equal(s3_fixture_list(f, "b", NULL, &n), STATUS_CORRUPT);
    s3_fixture_assert_told(f, "not asked for");
}

static void pages_without_end_are_a_failure(void **state)
{
    static const struct s3_step empty = {
        S3_SAY, 200, NULL,
        LIST("<IsTruncated>true</IsTruncated><NextContinuationToken>x</NextContinuationToken>")};
    struct s3_fixture *f = *state;
    struct s3_step steps[200];
    unsigned n;

    for (size_t i = 0; i < 200; i++) {
        steps[i] = empty;
    }
    s3_stub_plan(f->stub, steps, 200);
    assert_int_equal(s3_fixture_count(f, &n), STATUS_CORRUPT);
    s3_fixture_assert_told(f, "without end");
    s3_stub_plan(f->stub, steps, 3); /* Some may be empty. */
    assert_int_equal(s3_fixture_count(f, &n), STATUS_OK);
}

static void what_others_put_there_is_not_listed(void **state)
{
    struct s3_fixture *f = *state;
    unsigned n;

    s3_stub_put(f->stub, "some/where/", slice_of("", 0));
    s3_stub_put(f->stub, "some/where/.hidden", slice_of("", 0));
    s3_stub_put(f->stub, "some/where/a//b", slice_of("", 0));
    s3_stub_put(f->stub, "some/where/a+b", slice_of("", 0)); /* A blank, as lists are encoded. */
    s3_stub_put(f->stub, "some/where/good", slice_of("", 0));
    s3_stub_put(f->stub, "some/wherever", slice_of("", 0));
    assert_int_equal(s3_fixture_count(f, &n), STATUS_OK);
    assert_int_equal(n, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        S3_TEST(a_body_that_is_cut_off_is_read_again),
        S3_TEST(another_part_than_was_asked_for_is_not_taken),
        S3_TEST(ranges_that_make_no_sense_are_not_taken),
        S3_TEST(a_whole_object_is_held_against_its_hash),
        S3_TEST(who_gets_all_instead_of_a_part_takes_no_more_than_he_asked_for),
        S3_TEST(a_list_that_is_cut_off_is_a_failure),
        S3_TEST(a_list_that_breaks_off_is_read_again),
        S3_TEST(names_that_are_not_in_order_or_not_asked_for_are_a_failure),
        S3_TEST(pages_without_end_are_a_failure),
        S3_TEST(what_others_put_there_is_not_listed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
