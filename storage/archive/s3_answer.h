/* What S3 answers in XML: errors and pages of a listing. Strict: what is not as expected is damage,
 * as an incomplete listing would be taken for what is there. Pure. */
#ifndef HOLDFAST_STORAGE_ARCHIVE_S3_ANSWER_H
#define HOLDFAST_STORAGE_ARCHIVE_S3_ANSWER_H

#include "daemon/base/buffer.h"
#include "daemon/base/error.h"

/* Printable; what is longer is cut. */
struct s3_problem {
    char code[64];
    char message[200];
    char region[64];    /* Of the bucket, if it is another one; or "". */
    char endpoint[128]; /* Likewise. */
};

/* What a server wrote may end on a terminal: copy it with "?" for what is not printable, cut if it
 * is too long. */
void s3_copy_printable(struct slice from, char *to, size_t capacity);

/* False: it is not an <Error> with a <Code>; @problem is untouched. */
bool s3_problem_parse(struct slice body, struct s3_problem *problem);

/* One page of a listing. */
struct s3_page {
    struct buffer names;   /* Each with its NUL, one behind the other. */
    struct buffer objects; /* Of struct s3_object. */
    size_t n_objects;
    bool is_last;
    char *next; /* The token of the page behind, if it is not the last one. */
};

struct s3_object {
    size_t name_offset; /* In names. */
    uint64_t size_bytes;
};

/* STATUS_CORRUPT: it is no whole page. The caller closes @page if it is STATUS_OK. */
MUST_USE enum status s3_page_parse(struct slice body, struct s3_page *page, struct error *error);

/* The nth object, and its name. */
struct s3_object s3_page_object(const struct s3_page *page, size_t nth);
const char *s3_page_name(const struct s3_page *page, size_t nth);

void s3_page_close(struct s3_page *page); /* Accepts a zeroed one. */

#endif
