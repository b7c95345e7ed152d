#pragma once

#include <cstddef>
#include <filesystem>
#include <string_view>

namespace bliss {

/// A file being written as PATH.partial; `commit` syncs it to the disk and gives it its name. So a file under the final name
/// is always whole. Without commit the partial file is removed. Every member but the destructor @throws IoError naming
/// path, operation, the system's reason and what to do.
class AtomicFile {
public:
    explicit AtomicFile(const std::filesystem::path& path);
    ~AtomicFile();
    AtomicFile(const AtomicFile&) = delete;
    AtomicFile& operator=(const AtomicFile&) = delete;

    void write(const void* bytes, std::size_t count);
    void commit();

private:
    [[noreturn]] void fail(std::string_view what) const;

    std::filesystem::path final_;
    std::filesystem::path partial_;
    int descriptor_;
    bool committed_ = false;
};

/// Writes a whole file at once. @throws IoError.
void write_file(const std::filesystem::path& path, std::string_view content);

/// A command's output folder, with its parents, where it is not there yet. @throws IoError.
void create_output_folder(const std::filesystem::path& folder);

}  // namespace bliss
