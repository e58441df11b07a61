#include "cmd/kedgeutl/export_files.h"

#include "base/folder.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define INSIDE "export.part"

bool export_files_failed(struct export_files *files, const char *what, const char *path)
{
    files->reason = arena_printf(files->arena, "%s %s: %s", what, path, strerror(errno));
    return false;
}

static const char *join(struct export_files *files, const char *folder, const char *name)
{
    return arena_printf(files->arena, "%s/%s", folder, name);
}

/* --- removing --- */

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *at)
{
    (void)st;
    (void)kind;
    (void)at;
    return remove(path);
}

static void remove_part(const struct export_files *files)
{
    enum { OPEN_FOLDERS = 8 };
    nftw(files->part, remove_one, OPEN_FOLDERS, FTW_DEPTH | FTW_PHYS);
}

void export_files_give_up(struct export_files *files)
{
    remove_part(files);
}

/* --- beginning --- */

/* Nothing in it but what an earlier try left. */
static bool is_empty(const char *path)
{
    DIR *stream = opendir(path);
    bool empty = stream != NULL;
    for (struct dirent *entry; empty && (entry = readdir(stream)) != NULL;) {
        empty =
            strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0 || strcmp(entry->d_name, INSIDE) == 0;
    }
    if (stream != NULL) {
        closedir(stream);
    }
    return empty;
}

static bool make_folder(struct export_files *files, const char *path)
{
    return mkdir(path, 0700) == 0 || export_files_failed(files, "cannot create", path);
}

static bool make_folders(struct export_files *files)
{
    return make_folder(files, files->part) && make_folder(files, join(files, files->part, "member")) &&
           make_folder(files, join(files, files->part, "member/snap")) &&
           make_folder(files, join(files, files->part, "member/wal"));
}

static const char *without_slash(struct arena *arena, const char *path)
{
    size_t len = strlen(path);
    while (len > 1 && path[len - 1] == '/') {
        len--;
    }
    return arena_printf(arena, "%.*s", (int)len, path);
}

bool export_files_begin(struct export_files *files, struct arena *arena, const char *out)
{
    struct stat st;
    *files = (struct export_files){.arena = arena, .out = without_slash(arena, out)};
    files->inside = lstat(files->out, &st) == 0;
    if (files->inside && !is_empty(files->out)) {
        files->reason = arena_printf(arena, "data-dir \"%s\" not empty or could not be read", files->out);
        return false;
    }
    files->part = files->inside ? join(files, files->out, INSIDE) : arena_printf(arena, "%s.part", files->out);
    remove_part(files);
    if (!make_folders(files)) {
        remove_part(files);
        return false;
    }
    return true;
}

/* --- files --- */

int export_files_create(struct export_files *files, const char *path)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0) {
        export_files_failed(files, "cannot create", path);
    }
    return fd;
}

bool export_files_close(struct export_files *files, int fd, const char *path)
{
    bool good = fsync(fd) == 0 || export_files_failed(files, "cannot sync", path);
    close(fd);
    return good;
}

bool export_files_write(struct export_files *files, int fd, const char *path, const void *data, size_t len)
{
    const char *at = data;
    while (len > 0) {
        ssize_t n = write(fd, at, len);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0) {
            return export_files_failed(files, "cannot write", path);
        }
        at += n;
        len -= (size_t)n;
    }
    return true;
}

static bool is_zero(const char *data, size_t len)
{
    return data[0] == 0 && memcmp(data, data + 1, len - 1) == 0;
}

/* A segment of the log is mostly zeroes: those become a hole. */
static bool copy_content(struct export_files *files, int from, const char *from_path, int to, const char *to_path)
{
    enum { PIECE = 1 << 16 };
    static char piece[PIECE];
    ssize_t n;
    off_t size = 0;
    while ((n = read(from, piece, sizeof piece)) > 0) {
        bool hole = is_zero(piece, (size_t)n);
        size += n;
        if (hole ? lseek(to, n, SEEK_CUR) < 0 : !export_files_write(files, to, to_path, piece, (size_t)n)) {
            return hole ? export_files_failed(files, "cannot write", to_path) : false;
        }
    }
    if (n < 0) {
        return export_files_failed(files, "cannot read", from_path);
    }
    return ftruncate(to, size) == 0 || export_files_failed(files, "cannot write", to_path);
}

static bool copy_file(struct export_files *files, const char *from_path, const char *to_path)
{
    int from = open(from_path, O_RDONLY | O_CLOEXEC);
    if (from < 0) {
        return export_files_failed(files, "cannot open", from_path);
    }
    int to = export_files_create(files, to_path);
    bool good = to >= 0 && copy_content(files, from, from_path, to, to_path);
    close(from);
    if (to >= 0) {
        good = export_files_close(files, to, to_path) && good;
    }
    return good;
}

static bool ends_with(const char *name, const char *ending)
{
    size_t len = strlen(name), end = strlen(ending);
    return len > end && strcmp(name + len - end, ending) == 0;
}

bool export_files_copy(struct export_files *files, const char *from, const char *ending, const char *to)
{
    bool good = true;
    DIR *stream = opendir(from);
    if (stream == NULL) {
        return export_files_failed(files, "cannot list", from);
    }
    for (struct dirent *entry; good && (entry = readdir(stream)) != NULL;) {
        if (ends_with(entry->d_name, ending)) {
            good = copy_file(files, join(files, from, entry->d_name),
                             join(files, join(files, files->part, to), entry->d_name));
        }
    }
    closedir(stream);
    return good;
}

/* --- the end --- */

static bool sync_folder(struct export_files *files, const char *path)
{
    return folder_sync(path) == 0 || export_files_failed(files, "cannot sync", path);
}

static const char *parent_of(struct export_files *files)
{
    const char *slash = strrchr(files->out, '/');
    if (slash == NULL) {
        return ".";
    }
    return slash == files->out ? "/" : arena_printf(files->arena, "%.*s", (int)(slash - files->out), files->out);
}

bool export_files_end(struct export_files *files)
{
    static const char *const folders[] = {"member/snap", "member/wal", "member", "."};
    const char *from = files->inside ? join(files, files->part, "member") : files->part;
    const char *to = files->inside ? join(files, files->out, "member") : files->out;
    for (size_t i = 0; i < sizeof folders / sizeof folders[0]; i++) {
        if (!sync_folder(files, join(files, files->part, folders[i]))) {
            return false;
        }
    }
    if (rename(from, to) != 0) {
        return export_files_failed(files, "cannot rename to", to);
    }
    if (files->inside) {
        rmdir(files->part);
    }
    return sync_folder(files, files->inside ? files->out : parent_of(files));
}
