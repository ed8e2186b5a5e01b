/* Many simulated clusters under random faults, on all cores.
 *
 *   sim --seeds A B     the seeds from A up to (not including) B
 *   sim --seconds N     for N seconds, from a seed drawn at the start (or --from A)
 *   sim --seed N        one seed, traced; --notes traces every message
 *       --until-ms T --without-faults 1,4,7    less of it
 *   sim --shrink N      find out what of a failing seed is needed
 *   --mutation NAME     with a planted bug (a build with --enable-mutations): of many seeds, the
 *                       lowest that shows it
 *   --mutations         their names
 *
 * Each seed runs in a process that may crash without taking the others along. */
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "daemon/base/check.h"
#include "daemon/base/log.h"
#include "daemon/base/mutation.h"
#include "tests/sim/run.h"

#define MAX_WORKERS  64u
#define SEED_LIMIT_S 60u /* A run that takes longer hangs. */
#define MEMORY_BYTES (1ull << 30)
#define MAX_FAILURES 16u

/* What the workers and their parent share. */
struct worker {
    uint64_t seed; /* That it runs. */
    uint64_t n_done;
    struct cluster_counts counts;
    struct run failed;
};

struct shared {
    atomic_uint_least64_t next_seed;
    uint64_t end_seed;
    time_t end_s;
    struct worker workers[MAX_WORKERS];
};

static time_t now_s(void)
{
    struct timespec now;

    CHECK(clock_gettime(CLOCK_MONOTONIC, &now) == 0);
    return now.tv_sec;
}

/* --- Workers --- */

/* A run that takes all memory ends by itself. */
static void limit_memory(void)
{
    struct rlimit limit = {.rlim_cur = MEMORY_BYTES, .rlim_max = MEMORY_BYTES};

    CHECK(setrlimit(RLIMIT_DATA, &limit) == 0);
    CHECK(prctl(PR_SET_PDEATHSIG, SIGKILL) == 0); /* The parent may be stopped. */
}

/* By the time that it computes: it never waits, but others may compute, too. */
static void limit_time(void)
{
    struct itimerval limit = {.it_value = {.tv_sec = SEED_LIMIT_S}};

    CHECK(setitimer(ITIMER_PROF, &limit, NULL) == 0);
}

static void work(struct shared *shared, struct worker *worker)
{
    uint64_t seed;

    limit_memory();

    while (now_s() < shared->end_s &&
           (seed = atomic_fetch_add(&shared->next_seed, 1)) < shared->end_seed) {
        struct run run = {.seed = seed};

        worker->seed = seed;
        limit_time();
        if (!run_seed(&run)) {
            worker->failed = run;
            _exit(1);
        }
        run_add_counts(&worker->counts, &run.counts);
        worker->n_done++;
    }
    _exit(0);
}

static pid_t start_worker(struct shared *shared, struct worker *worker)
{
    pid_t pid;

    (void)fflush(stdout);
    pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        work(shared, worker);
    }
    return pid;
}

static void report(const struct worker *worker, int wait_status)
{
    if (WIFSIGNALED(wait_status)) {
        (void)printf("seed %" PRIu64 " failed: the process ended by signal %d (%s)", worker->seed,
                     WTERMSIG(wait_status), strsignal(WTERMSIG(wait_status)));
    } else {
        (void)printf("seed %" PRIu64 " failed %s", worker->seed, worker->failed.failure);
    }
    (void)printf("\n  again: tests/sim/sim --seed %" PRIu64
                 "    less: tests/sim/sim --shrink %" PRIu64 "\n",
                 worker->seed, worker->seed);
}

/* Run seeds until all are done, time is up, or @max_failures have failed. Gives how many did;
 * *@first is the first of them. */
static unsigned run_seeds(struct shared *shared, unsigned max_failures, bool is_quiet,
                          uint64_t *n_done, uint64_t *first)
{
    unsigned n_workers = (unsigned)sysconf(_SC_NPROCESSORS_ONLN);
    struct cluster_counts counts = {.acknowledged = 0};
    pid_t pids[MAX_WORKERS];
    unsigned n_failed = 0;
    unsigned n_running = 0;

    n_workers = n_workers > MAX_WORKERS ? MAX_WORKERS : n_workers;
    for (; n_running < n_workers; n_running++) {
        pids[n_running] = start_worker(shared, &shared->workers[n_running]);
    }
    while (n_running > 0) {
        int wait_status;
        pid_t pid = wait(&wait_status);

        for (unsigned i = 0; i < n_workers && pid > 0; i++) {
            struct worker *worker = &shared->workers[i];

            if (pids[i] != pid) {
                continue;
            }
            n_running--;
            if (WIFEXITED(wait_status) && WEXITSTATUS(wait_status) == 0) {
                break;
            }
            worker->n_done++;
            *first = n_failed == 0 || worker->seed < *first ? worker->seed : *first;
            n_failed++;
            if (!is_quiet) {
                report(worker, wait_status);
            }
            if (n_failed < max_failures) {
                pids[i] = start_worker(shared, worker);
                n_running++;
            } else {
                shared->end_seed = 0;
            }
        }
    }
    *n_done = 0;
    for (unsigned i = 0; i < n_workers; i++) {
        *n_done += shared->workers[i].n_done;
        run_add_counts(&counts, &shared->workers[i].counts);
    }
    if (!is_quiet) {
        run_print_counts(&counts);
    }
    return n_failed;
}

static struct shared *new_shared(uint64_t from, uint64_t end, time_t seconds)
{
    struct shared *shared =
        mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    CHECK(shared != MAP_FAILED);
    atomic_store(&shared->next_seed, from);
    shared->end_seed = end;
    shared->end_s = now_s() + seconds;
    return shared;
}

static int run_many(uint64_t from, uint64_t end, time_t seconds)
{
    struct shared *shared = new_shared(from, end, seconds);
    time_t began_s = now_s();
    uint64_t n_done;
    uint64_t first = 0;
    unsigned n_failed;
    time_t took_s;

    (void)printf("seeds from %" PRIu64 " on, 60 simulated seconds each\n", from);
    n_failed = run_seeds(shared, MAX_FAILURES, false, &n_done, &first);
    took_s = now_s() - began_s > 0 ? now_s() - began_s : 1;
    (void)printf("%" PRIu64 " seeds in %lld s, %.1f per second; %u failed\n", n_done,
                 (long long)took_s, (double)n_done / (double)took_s, n_failed);
    return n_failed == 0 ? 0 : 1;
}

/* --- One seed --- */

/* Does it fail, in a process of its own? */
static bool fails(struct run *run)
{
    struct run *copy =
        mmap(NULL, sizeof *copy, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    int wait_status;
    bool failed;
    pid_t pid;

    CHECK(copy != MAP_FAILED);
    *copy = *run;
    (void)fflush(stdout);
    pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        limit_memory();
        (void)alarm(SEED_LIMIT_S);
        _exit(run_seed(copy) ? 0 : 1);
    }
    CHECK(waitpid(pid, &wait_status, 0) == pid);
    failed = !WIFEXITED(wait_status) || WEXITSTATUS(wait_status) != 0;
    run->n_faults = copy->n_faults > 0 ? copy->n_faults : FAULTS_MAX;
    run->failed_ms = copy->failed_ms;
    memcpy(run->failure, copy->failure, sizeof run->failure);
    CHECK(munmap(copy, sizeof *copy) == 0);
    return failed;
}

static void print_shrunk(const struct run *run)
{
    const char *separator = " --without-faults ";

    (void)printf("%s\ntests/sim/sim --seed %" PRIu64, run->failure, run->seed);
    for (unsigned i = 0; i < run->n_faults; i++) {
        if (run->without[i]) {
            (void)printf("%s%u", separator, i);
            separator = ",";
        }
    }
    if (run->until_ms != 0) {
        (void)printf(" --until-ms %" PRIu64, run->until_ms);
    }
    (void)printf("\n");
}

/* Leave out what is not needed to fail: one fault after the other, then the time behind. */
static int shrink(struct run *run)
{
    struct run attempt;
    unsigned n_faults;

    if (!fails(run)) {
        (void)printf("seed %" PRIu64 " does not fail\n", run->seed);
        return 2;
    }
    n_faults = run->n_faults;
    for (unsigned i = n_faults; i > 0; i--) {
        attempt = *run;
        attempt.without[i - 1] = true;
        if (fails(&attempt)) {
            *run = attempt;
            run->n_faults = n_faults;
        }
    }
    attempt = *run;
    attempt.until_ms = run->failed_ms;
    if (run->failed_ms != 0 && fails(&attempt)) {
        *run = attempt;
        run->n_faults = n_faults;
    }
    print_shrunk(run);
    return 1;
}

static int replay(struct run *run)
{
    bool passed;

    run->trace = stdout;
    log_configure(LOG_WARN, LOG_FORMAT_TEXT);
    passed = run_seed(run);
    run_print_counts(&run->counts);
    (void)printf("digest %016" PRIx64 ": %s\n", run->digest, passed ? "passed" : run->failure);
    return passed ? 0 : 1;
}

/* --- Planted bugs --- */

/* How seed @seed failed. */
static const char *story_of(const struct shared *shared, uint64_t seed)
{
    for (unsigned i = 0; i < MAX_WORKERS; i++) {
        const struct worker *worker = &shared->workers[i];

        if (worker->seed == seed && worker->failed.seed == seed) {
            return worker->failed.failure;
        }
    }
    return "the process crashed";
}

/* The lowest seed that shows it: seeds are begun in their order, and those below are waited for. */
static int run_mutation(const char *name, uint64_t from, uint64_t end)
{
    struct shared *shared = new_shared(from, end, 3600);
    uint64_t first = 0;
    uint64_t n_done;

    if (!mutation_select(name)) {
        (void)fprintf(stderr, "sim: no planted bug is called \"%s\" in this build\n", name);
        return 2;
    }
    if (run_seeds(shared, 1, true, &n_done, &first) == 0) {
        (void)printf("%s NOT CAUGHT within %" PRIu64 "\n", name, n_done);
        return 1;
    }
    (void)printf("%s caught at seed %" PRIu64 ": %s\n", name, first, story_of(shared, first));
    return 0;
}

/* --- The command line --- */

static void parse_without(struct run *run, const char *list)
{
    char *end;

    while (*list != '\0') {
        unsigned long number = strtoul(list, &end, 10);

        if (end == list || number >= FAULTS_MAX) {
            return;
        }
        run->without[number] = true;
        list = *end == ',' ? end + 1 : end;
    }
}

static int usage(void)
{
    (void)fprintf(stderr, "usage: sim --seeds A B | --seconds N [--from A] | --shrink N |\n"
                          "           --seed N [--notes] [--until-ms T] [--without-faults K,K...]\n"
                          "       with a planted bug: --mutation NAME; their names: --mutations\n");
    return 2;
}

int main(int argc, char **argv)
{
    struct run run = {.seed = 0};
    enum { NONE, ONE, MANY, SHRINK } mode = NONE;
    uint64_t from = (uint64_t)time(NULL) * 100000;
    uint64_t end = UINT64_MAX;
    time_t seconds = 1000000;
    const char *mutation = NULL;

    (void)setvbuf(stdout, NULL, _IOLBF, 0);
    log_configure(LOG_ERROR, LOG_FORMAT_TEXT);
    for (int i = 1; i < argc; i++) {
        const char *option = argv[i];
        const char *value = i + 1 < argc ? argv[i + 1] : NULL;

        if (strcmp(option, "--notes") == 0) {
            run.with_notes = true;
            continue;
        }
        if (strcmp(option, "--mutations") == 0) {
            mutation_list(stdout);
            return 0;
        }
        if (value == NULL) {
            return usage();
        }
        i++;
        if (strcmp(option, "--seed") == 0) {
            mode = ONE;
            run.seed = strtoull(value, NULL, 10);
        } else if (strcmp(option, "--shrink") == 0) {
            mode = SHRINK;
            run.seed = strtoull(value, NULL, 10);
        } else if (strcmp(option, "--seeds") == 0 && i + 1 < argc) {
            mode = MANY;
            from = strtoull(value, NULL, 10);
            end = strtoull(argv[++i], NULL, 10);
        } else if (strcmp(option, "--seconds") == 0) {
            mode = MANY;
            seconds = (time_t)strtoul(value, NULL, 10);
        } else if (strcmp(option, "--from") == 0) {
            from = strtoull(value, NULL, 10);
        } else if (strcmp(option, "--until-ms") == 0) {
            run.until_ms = strtoull(value, NULL, 10);
        } else if (strcmp(option, "--without-faults") == 0) {
            parse_without(&run, value);
        } else if (strcmp(option, "--mutation") == 0) {
            mutation = value;
        } else {
            return usage();
        }
    }
    if (mutation != NULL && mode == MANY) {
        log_configure(LOG_ERROR, LOG_FORMAT_TEXT);
        return run_mutation(mutation, from, end);
    }
    if (mutation != NULL && !mutation_select(mutation)) {
        return usage();
    }
    return mode == MANY     ? run_many(from, end, seconds)
           : mode == ONE    ? replay(&run)
           : mode == SHRINK ? shrink(&run)
                            : usage();
}
