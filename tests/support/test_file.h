/* Files that tests read: data of the tests by their path from the repository's top, where tests run. */
#ifndef TESTS_SUPPORT_TEST_FILE_H
#define TESTS_SUPPORT_TEST_FILE_H

#include "base/bytes.h"

/* All of it; free with buffer_free. A file that is not there ends the test. */
struct buffer test_file_read(const char *path);

#endif
