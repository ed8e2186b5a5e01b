/* What a function that can fail gives back: a status for the program, and where
 * an operator needs the story, a sentence for people.
 *
 * A status is plain data and may cross threads. A struct error belongs to the
 * caller, usually on its stack. */
#ifndef HOLDFAST_BASE_ERROR_H
#define HOLDFAST_BASE_ERROR_H

#define MUST_USE __attribute__((warn_unused_result))

/* One list yields the enum and its texts. */
#define STATUS_LIST(X)                                                                             \
    X(OK, "ok")                                                                                    \
    X(NOT_FOUND, "not found")                                                                      \
    X(EXISTS, "exists already")                                                                    \
    X(INVALID, "not valid")                                                                        \
    X(TOO_LARGE, "too large")                                                                      \
    X(UNSUPPORTED, "not supported")                                                                \
    X(CORRUPT, "damaged")                                                                          \
    X(IO, "input or output failed")                                                                \
    X(DISK_FULL, "disk full")                                                                      \
    X(PERMISSION, "permission denied")                                                             \
    X(BUSY, "busy")                                                                                \
    X(TIMEOUT, "timed out")                                                                        \
    X(CANCELED, "canceled")                                                                        \
    X(CLOSED, "closed")                                                                            \
    X(NO_LEADER, "no leader")                                                                      \
    X(UNCERTAIN, "outcome unknown")                                                                \
    X(MISMATCH, "belongs to something else")                                                       \
    X(END, "end")

enum status {
#define STATUS_ENUM(name, text) STATUS_##name,
    STATUS_LIST(STATUS_ENUM)
#undef STATUS_ENUM
};

/* The text of @status: a few words, static, never NULL. */
const char *status_text(enum status status);

/* The status that stands for an errno (positive) value. */
enum status status_from_errno(int number);

#define ERROR_MAX_TEXT 512

struct error {
    enum status status;
    char text[ERROR_MAX_TEXT]; /* Ends with NUL; longer text is cut. */
};

/* Write the sentence into @error, which may be NULL, and give back @status.
 *
 * Say what could not be done, to what, and why: "could not open store "x": disk full". */
enum status error_set(struct error *error, enum status status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Put words and ": " in front of what @error says already. Gives back its status, or
 * STATUS_IO if @error is NULL. */
enum status error_prefix(struct error *error, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

#endif
