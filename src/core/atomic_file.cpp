#include "bliss/core/atomic_file.hpp"

#include "bliss/core/error.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>

namespace bliss {

AtomicFile::AtomicFile(const std::filesystem::path& path)
    : final_{path}, partial_{path.string() + ".partial"}, descriptor_{::open(partial_.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0644)} {
    if (descriptor_ < 0) fail("cannot be created");
}

AtomicFile::~AtomicFile() {
    if (descriptor_ >= 0) ::close(descriptor_);
    if (!committed_) ::unlink(partial_.c_str());
}

void AtomicFile::write(const void* bytes, std::size_t count) {
    const char* at = static_cast<const char*>(bytes);
    while (count > 0) {
        const ssize_t written = ::write(descriptor_, at, count);
        if (written < 0 && errno == EINTR) continue;
        if (written <= 0) fail("cannot be written");
        at += written;
        count -= static_cast<std::size_t>(written);
    }
}

void AtomicFile::commit() {
    if (::fsync(descriptor_) != 0) fail("cannot be synced to disk");
    const int closed = ::close(descriptor_);
    descriptor_ = -1;
    if (closed != 0) fail("cannot be closed");
    if (::rename(partial_.c_str(), final_.c_str()) != 0) fail("cannot be given its final name");
    committed_ = true;
}

void AtomicFile::fail(std::string_view what) const {
    throw IoError(fmt::format("{}: {} ({}); check the path, permissions and free space", final_.string(), what,
                              std::generic_category().message(errno)));
}

void write_file(const std::filesystem::path& path, std::string_view content) {
    AtomicFile file{path};
    file.write(content.data(), content.size());
    file.commit();
}

void create_output_folder(const std::filesystem::path& folder) {
    std::error_code status;
    std::filesystem::create_directories(folder, status);
    if (!status) return;
    throw IoError(
        fmt::format("{}: the output folder cannot be created ({}); name another with --output", folder.string(), status.message()));
}

}  // namespace bliss
