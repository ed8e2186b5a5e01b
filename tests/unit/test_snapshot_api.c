/* GET /v1/snapshot: an image that holds what was acknowledged before, whole or in parts. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "storage/image.h"
#include "tests/lib/api_fixture.h"

#define CLUSTER "01234567-89ab-cdef-0123-456789abcdef"
#define PATH    "/v1/snapshot"

static int setup(void **state)
{
    struct api_fixture *f;

    (void)api_setup(state);
    f = *state;
    strcpy(f->node->status.cluster_id, CLUSTER);
    (void)api_expect(f, "PUT", NS "/items/a", "", "1", 201, NULL);
    return 0;
}

/* All pieces hold; gives the facts. */
static struct image_facts verify(struct slice image)
{
    struct image_reader *reader = image_reader_open();
    struct image_facts facts;
    struct image_piece piece;
    struct error error;

    while (image.size > 0) {
        assert_int_equal(image_piece_look(image, &piece, NULL), STATUS_OK);
        if (image_reader_feed(reader, slice_of(image.data, piece.size), NULL, NULL, &error) !=
            STATUS_OK) {
            fail_msg("%s", error.text);
        }
        image = slice_from(image, piece.size);
    }
    assert_true(image_reader_is_done(reader));
    facts = *image_reader_facts(reader);
    image_reader_close(reader);
    return facts;
}

static uint64_t revision_of(const struct reply *reply)
{
    return strtoull(reply_header(reply, "Holdfast-Revision"), NULL, 10);
}

/* Headers with the tag of @reply in quotes where @format has %s. */
static const char *with_tag(const struct reply *reply, const char *format)
{
    static char lines[256];
    char tag[IMAGE_DIGEST_BYTES * 2 + 32];

    (void)snprintf(tag, sizeof tag, "%s", reply_header(reply, "ETag"));
    (void)snprintf(lines, sizeof lines, format, tag);
    return lines;
}

static struct reply *get(struct api_fixture *f, const char *headers, unsigned status)
{
    return api_expect(f, "GET", PATH, headers, NULL, status, NULL);
}

static void it_holds_what_was_acknowledged(void **state)
{
    struct api_fixture *f = *state;
    struct reply *reply = get(f, "", 200);
    struct image_facts facts = verify(buffer_slice(&reply->body));

    assert_string_equal(facts.cluster_id, CLUSTER);
    assert_int_equal(facts.state.revision, machine_revision(f->node->state->machine));
    assert_int_equal(revision_of(reply), facts.state.revision);
    assert_string_equal(reply->content_type, "application/octet-stream");
    assert_string_equal(reply_header(reply, "Accept-Ranges"), "bytes");
    assert_string_equal(reply_header(reply, "Cache-Control"), "no-cache");
    assert_int_equal(f->node->n_tickets, 1);

    (void)api_expect(f, "PUT", NS "/items/a", "", "2", 200, NULL);
    reply = get(f, "", 200);
    assert_int_equal(verify(buffer_slice(&reply->body)).state.revision, facts.state.revision + 1);
}

static void readers_of_one_revision_share_an_image(void **state)
{
    struct api_fixture *f = *state;
    struct reply *replies[8];
    struct image_spools_statistics statistics;

    for (unsigned i = 0; i < 8; i++) {
        replies[i] = api_start(f, "GET", PATH, "", slice_of(NULL, 0));
    }
    for (unsigned i = 0; i < 8; i++) {
        api_finish(f, replies[i]);
        assert_int_equal(replies[i]->status, 200);
        assert_true(slice_equals(buffer_slice(&replies[i]->body), buffer_slice(&replies[0]->body)));
    }
    image_spools_statistics(node_spools(f->node), &statistics);
    assert_int_equal(statistics.exports, 1);
    for (unsigned i = 0; i < 8; i++) {
        api_free(replies[i]);
    }
}

static void a_stale_one_asks_nobody(void **state)
{
    struct api_fixture *f = *state;
    struct reply *reply;

    f->node->ticket_status = STATUS_NO_LEADER;
    api_refuses(f, "GET", PATH, "", NULL, "no-leader", NULL);
    f->node->n_tickets = 0;
    reply = api_expect(f, "GET", PATH "?consistency=stale", "", NULL, 200, NULL);
    assert_int_equal(verify(buffer_slice(&reply->body)).state.revision,
                     machine_revision(f->node->state->machine));
    assert_int_equal(f->node->n_tickets, 0);
}

static void head_tells_size_and_tag(void **state)
{
    struct api_fixture *f = *state;
    struct reply *reply = api_call(f, "HEAD", PATH, "", NULL);
    uint64_t length = reply->length;
    char tag[96];

    assert_int_equal(reply->status, 200);
    (void)snprintf(tag, sizeof tag, "%s", reply_header(reply, "ETag"));
    reply = get(f, "", 200);
    assert_int_equal(reply->body.size, length);
    assert_string_equal(reply_header(reply, "ETag"), tag);
    reply = api_call(f, "HEAD", PATH, "Range: bytes=0-9\r\n", NULL); /* Ranges are for GET. */
    assert_int_equal(reply->status, 200);
    assert_int_equal(reply->length, length);
}

static void parts_make_the_whole(void **state)
{
    struct api_fixture *f = *state;
    struct reply *reply = get(f, "", 200);
    struct buffer whole = BUFFER_EMPTY;
    struct buffer parts = BUFFER_EMPTY;
    char lines[160];
    char range[96];
    char tag[96];
    size_t half;

    buffer_append_slice(&whole, buffer_slice(&reply->body));
    half = whole.size / 2;
    (void)snprintf(tag, sizeof tag, "%s", reply_header(reply, "ETag"));
    for (unsigned i = 0; i < 2; i++) {
        (void)snprintf(lines, sizeof lines, "Range: bytes=%zu-%zu\r\nIf-Range: %s\r\n",
                       i == 0 ? 0 : half, i == 0 ? half - 1 : whole.size + 100, tag);
        reply = get(f, lines, 206);
        (void)snprintf(range, sizeof range, "bytes %zu-%zu/%zu", i == 0 ? 0 : half,
                       i == 0 ? half - 1 : whole.size - 1, whole.size);
        assert_string_equal(reply_header(reply, "Content-Range"), range);
        assert_string_equal(reply_header(reply, "ETag"), tag);
        buffer_append_slice(&parts, buffer_slice(&reply->body));
        (void)api_expect(f, "PUT", NS "/items/a", "", "3", 200, NULL); /* It goes on meanwhile. */
    }
    assert_true(slice_equals(buffer_slice(&whole), buffer_slice(&parts)));
    buffer_close(&whole);
    buffer_close(&parts);
}

static void a_part_of_an_image_that_is_gone_is_the_whole_of_another(void **state)
{
    struct api_fixture *f = *state;
    struct reply *reply =
        get(f, "Range: bytes=10-\r\nIf-Range: \"3-00112233445566778899aabbccddeeff\"\r\n", 200);

    (void)verify(buffer_slice(&reply->body));
    reply = get(f, "Range: bytes=10-\r\nIf-Range: Wed, 21 Oct 2015 07:28:00 GMT\r\n", 200);
    (void)verify(buffer_slice(&reply->body));
    reply = get(f, with_tag(reply, "Range: bytes=10-\r\nIf-Range: W/%s\r\n"), 200);
    (void)verify(buffer_slice(&reply->body));
}

static void a_range_behind_the_end_is_refused(void **state)
{
    struct api_fixture *f = *state;
    struct reply *reply = get(f, "", 200);
    size_t size = reply->body.size;
    char range[64];

    api_refuses(f, "GET", PATH, "Range: bytes=99999999-\r\n", NULL, "range-not-satisfiable", NULL);
    (void)snprintf(range, sizeof range, "bytes */%zu", size);
    assert_string_equal(reply_header(f->last, "Content-Range"), range);
    assert_int_equal(f->last->status, 416);
}

static void conditions_are_kept(void **state)
{
    struct api_fixture *f = *state;
    struct reply *reply = get(f, "", 200);
    char none_match[256];
    char match[256];

    (void)snprintf(none_match, sizeof none_match, "%s",
                   with_tag(reply, "If-None-Match: \"x\", W/%s\r\n"));
    (void)snprintf(match, sizeof match, "%s", with_tag(reply, "If-Match: %s\r\n"));
    reply = get(f, none_match, 304);
    assert_int_equal(reply->body.size, 0);
    (void)get(f, match, 200);
    (void)get(f, "If-Match: *\r\n", 200);
    api_refuses(f, "GET", PATH, "If-Match: \"x\"\r\n", NULL, "precondition-failed", NULL);

    (void)api_expect(f, "PUT", NS "/items/a", "", "4", 200, NULL);
    (void)get(f, none_match, 200);
    (void)get(f, match, 200); /* That very one, as long as it is there. */
}

static void what_is_wrong_is_refused(void **state)
{
    struct api_fixture *f = *state;

    api_refuses(f, "GET", PATH "?limit=1", "", NULL, "invalid-field", "limit");
    api_refuses(f, "GET", PATH "?consistency=x", "", NULL, "invalid-field", "consistency");
    api_refuses(f, "POST", PATH, "", "{}", "method-not-allowed", NULL);
    f->node->status.cluster_id[0] = '\0';
    api_refuses(f, "GET", PATH, "", NULL, "not-ready", NULL);
}

static void a_full_disk_is_told(void **state)
{
    struct api_fixture *f = *state;

    f->node->spools_options.reserve_bytes = UINT64_MAX;
    api_refuses(f, "GET", PATH, "", NULL, "storage-full", NULL);
}

static void too_many_images_in_use_are_told(void **state)
{
    struct api_fixture *f = *state;
    struct image_spool *held;
    char tag[96];

    f->node->spools_options.max_files = 1;
    (void)snprintf(tag, sizeof tag, "%s", reply_header(get(f, "", 200), "ETag"));
    held = image_spools_find(node_spools(f->node), "", slice_of(tag + 1, strlen(tag) - 2));
    assert_non_null(held);
    (void)api_expect(f, "PUT", NS "/items/a", "", "5", 200, NULL);
    api_refuses(f, "GET", PATH, "", NULL, "overloaded", NULL);
    assert_non_null(reply_header(f->last, "Retry-After"));
    image_spool_release(held);
    (void)get(f, "", 200);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(it_holds_what_was_acknowledged, setup, api_teardown),
        cmocka_unit_test_setup_teardown(readers_of_one_revision_share_an_image, setup,
                                        api_teardown),
        cmocka_unit_test_setup_teardown(a_stale_one_asks_nobody, setup, api_teardown),
        cmocka_unit_test_setup_teardown(head_tells_size_and_tag, setup, api_teardown),
        cmocka_unit_test_setup_teardown(parts_make_the_whole, setup, api_teardown),
        cmocka_unit_test_setup_teardown(a_part_of_an_image_that_is_gone_is_the_whole_of_another,
                                        setup, api_teardown),
        cmocka_unit_test_setup_teardown(a_range_behind_the_end_is_refused, setup, api_teardown),
        cmocka_unit_test_setup_teardown(conditions_are_kept, setup, api_teardown),
        cmocka_unit_test_setup_teardown(what_is_wrong_is_refused, setup, api_teardown),
        cmocka_unit_test_setup_teardown(a_full_disk_is_told, setup, api_teardown),
        cmocka_unit_test_setup_teardown(too_many_images_in_use_are_told, setup, api_teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
