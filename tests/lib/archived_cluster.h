/* Three nodes that archive each to its own directory and all to one place, with writers, and what
 * an operator does with that. What fails where nothing should ends the test. Main thread only, but
 * for what says otherwise. */
#ifndef HOLDFAST_TESTS_ARCHIVED_CLUSTER_H
#define HOLDFAST_TESTS_ARCHIVED_CLUSTER_H

#include "tests/lib/archive_place.h"
#include "tests/lib/command_line.h"
#include "tests/lib/expect.h"
#include "tests/lib/writers.h"

#define ARCHIVED_MS 150000 /* What was written is archived by then, S3's pauses included. */

struct archived_cluster {
    struct cluster cluster;
    struct archive_place place;
    struct writers writers;
    struct command_line cli;
    uint64_t random;
    bool passed; /* Set by a test at its end: what it made is removed. */
    /* Private. */
    bool is_open;
    bool has_writers;
    bool is_writing;
    struct answer answer;
    char list[RGW_SERVER_URL_BYTES + 16];
    char alone[64];
};

/* cmocka's setup and teardown: *state is the cluster, which is ready. A test begins with
 * archived_cluster_need(). */
int archived_cluster_setup(void **state);
int archived_cluster_teardown(void **state);

/* Skips the test, loudly, if the place that is wanted cannot be had. */
void archived_cluster_need(struct archived_cluster *f);

void archived_cluster_write(struct archived_cluster *f);
/* Writes go on. */
void archived_cluster_await_progress(struct archived_cluster *f);
/* Each writer ends with what it is at; none may have failed. */
void archived_cluster_stop_writing(struct archived_cluster *f);

/* What a node says of the place that all archive to, for json_decref(); NULL: it does not answer.
 * Any thread. */
json_t *archived_cluster_ask(const struct cluster_node *node);
/* Such a node archives there now, by what it says, and knows how far that is. Any thread. */
bool archived_cluster_is_archiver(const json_t *view);

/* The node that archives; CLUSTER_NOBODY: none says so for some time. */
unsigned archived_cluster_find_archiver(struct archived_cluster *f);

/* Have all that was executed archived now, and a full made, by who archives; does not wait. */
void archived_cluster_ask_for_full(struct archived_cluster *f, unsigned node);

/* Wait until the place has this revision. */
void archived_cluster_await(struct archived_cluster *f, uint64_t revision);

/* The archive at @url is whole, says the command line: all of it is restored, and each step gives
 * the state that it gave before. @more: further flags. Gives the revision up to which it goes. */
uint64_t archived_cluster_verify(struct archived_cluster *f, const char *url, const char *more);

/* What is in the place becomes the data of this node, as a new cluster of one; false: the command
 * line refused. */
bool archived_cluster_restore(struct archived_cluster *f, unsigned node);

/* Every acknowledged write is there, on every node, and nothing else. */
void archived_cluster_check_writes(struct archived_cluster *f);

/* All nodes are killed, their disks lost, and a new cluster begins with what is in the place;
 * @old_cluster_id is that of the old one. */
void archived_cluster_lose_all(struct archived_cluster *f, char old_cluster_id[40]);

#endif
