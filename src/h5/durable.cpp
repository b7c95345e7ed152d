#include "durable.hpp"

#include "bliss/core/error.hpp"
#include "bliss/core/io_advice.hpp"

#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cerrno>
#include <string>
#include <string_view>
#include <system_error>

namespace bliss::h5::detail {

namespace {

[[noreturn]] void fail(const std::filesystem::path& path, const char* operation) {
    const int reason = errno;
    throw IoError(path.string() + ": cannot " + operation + ": " + std::generic_category().message(reason) +
                  std::string{io_advice(reason)});
}

/// Opens, does one thing, closes. @returns whether it was done; errno is then its reason.
template <class Operation>
bool with_open(const std::filesystem::path& path, int flags, Operation&& operation) {
    const int file = ::open(path.c_str(), flags | O_CLOEXEC);
    if (file < 0) fail(path, "open");
    const bool done = operation(file) == 0;
    const int reason = errno;
    ::close(file);
    errno = reason;
    return done;
}

void sync_path(const std::filesystem::path& path, int flags) {
    if (!with_open(path, flags, ::fsync)) fail(path, "flush to the disk");
}

}  // namespace

void create_empty(const std::filesystem::path& path) {
    const int file = ::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (file < 0) fail(path, "create");
    ::close(file);
}

void check_visible(const std::filesystem::path& path) {
    const int file = ::open(path.c_str(), O_RDWR | O_CLOEXEC);
    if (file < 0) {
        throw IoError(path.string() + ": made by rank 0, but not to be opened here (" + std::generic_category().message(errno) +
                      "); give an --output folder that all nodes share");
    }
    ::close(file);
}

void reserve(const std::filesystem::path& path, std::int64_t bytes) {
    const std::string operation = "set " + std::to_string(bytes) + " bytes aside";
    // Setting space aside does not change the size, so the system does not hold it against the process's limit.
    rlimit limit{};
    if (::getrlimit(RLIMIT_FSIZE, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY && static_cast<rlim_t>(bytes) > limit.rlim_cur) {
        errno = EFBIG;
        fail(path, operation.c_str());
    }
    const auto allocate = [bytes](int file) { return ::fallocate(file, FALLOC_FL_KEEP_SIZE, 0, bytes); };
    if (!with_open(path, O_WRONLY, allocate) && errno != EOPNOTSUPP && errno != ENOSYS && errno != EINTR)
        fail(path, operation.c_str());
}

void release_reserve(const std::filesystem::path& path) {
    const auto size = static_cast<off_t>(std::filesystem::file_size(path));
    if (!with_open(path, O_WRONLY, [size](int file) { return ::ftruncate(file, size); })) fail(path, "trim");
}

void begin_sync(const std::filesystem::path& path, std::int64_t offset, std::int64_t bytes) noexcept {
    const int file = ::open(path.c_str(), O_WRONLY | O_CLOEXEC);
    if (file < 0) return;
    (void)::sync_file_range(file, offset, bytes, SYNC_FILE_RANGE_WRITE);
    ::close(file);
}

void sync_file(const std::filesystem::path& path) { sync_path(path, O_RDONLY); }

void rename_durably(const std::filesystem::path& from, const std::filesystem::path& to) {
    if (::rename(from.c_str(), to.c_str()) != 0) fail(to, ("rename " + from.filename().string() + " to this").c_str());
    const std::filesystem::path folder = to.parent_path();
    sync_path(folder.empty() ? "." : folder, O_RDONLY | O_DIRECTORY);
}

void truncate_to_nothing(const std::filesystem::path& path) noexcept {
    if (::truncate(path.c_str(), 0) != 0) return;  // best effort: the caller is already reporting a failure
}

void remove_quietly(const std::filesystem::path& path) noexcept {
    std::error_code ignored;
    std::filesystem::remove(path, ignored);
}

}  // namespace bliss::h5::detail
