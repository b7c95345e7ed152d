#pragma once

#include <cstdint>
#include <filesystem>

/// What HDF5 does not do for a file: the operating system's side of writing it safely. Errors are IoError with path and the
/// system's reason.
namespace bliss::h5::detail {

/// Makes an empty file, emptying an older one.
void create_empty(const std::filesystem::path& path);

/// Opens a file that another rank has made, to see that it is there on this node too. @throws IoError
void check_visible(const std::filesystem::path& path);

/// Sets disk space aside for the file's first `bytes` bytes without changing its size, so that a full disk is found before
/// anything is written. Does nothing on file systems that cannot.
void reserve(const std::filesystem::path& path, std::int64_t bytes);

/// Gives back space set aside beyond the file's end.
void release_reserve(const std::filesystem::path& path);

/// Lets the system begin to bring a part of the file to the disk, so that less is waited for at the end. Does nothing where it cannot.
void begin_sync(const std::filesystem::path& path, std::int64_t offset, std::int64_t bytes) noexcept;

/// Waits until the file's bytes are on the disk.
void sync_file(const std::filesystem::path& path);

/// Renames and waits until the new name is on the disk.
void rename_durably(const std::filesystem::path& from, const std::filesystem::path& to);

void truncate_to_nothing(const std::filesystem::path& path) noexcept;
void remove_quietly(const std::filesystem::path& path) noexcept;

}  // namespace bliss::h5::detail
