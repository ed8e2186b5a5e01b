/* What is noted of fulls beside them, as objects without bytes (names.h): that one is pinned, and
 * that a restore from it was right. Any thread that may wait for the repository. */
#ifndef HOLDFAST_STORAGE_ARCHIVE_MARKS_H
#define HOLDFAST_STORAGE_ARCHIVE_MARKS_H

#include "storage/archive/names.h"

/* Both may be so already. @work_directory: for a file that is gone at once. As repository_create()
 * and repository_remove(). */
MUST_USE enum status marks_pin(struct repository *repository, const char *full_directory,
                               const char *work_directory, struct error *error);
MUST_USE enum status marks_unpin(struct repository *repository, const char *full_directory,
                                 struct error *error);

/* Note a verification, and forget those of this full that were before. */
MUST_USE enum status marks_verified(struct repository *repository, const char *full_directory,
                                    const struct names_verification *verification,
                                    const char *work_directory, struct error *error);

/* The full goes: forget its verifications. What is held for longer stays. */
MUST_USE enum status marks_forget(struct repository *repository, const char *full_directory,
                                  struct error *error);

#endif
