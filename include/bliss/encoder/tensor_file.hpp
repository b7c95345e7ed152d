#pragma once

#include <ATen/core/Tensor.h>

#include <filesystem>
#include <map>
#include <string>

namespace bliss::encoder {

/// Named tensors and texts in one file: the safetensors format (8-byte header length, JSON header, raw little-endian data),
/// which Python's `safetensors` package reads. A checksum stands among the metadata. The bytes depend on the content alone.
struct TensorFile {
    std::map<std::string, at::Tensor> tensors;  ///< float, double or int64
    std::map<std::string, std::string> metadata;
};

/// Writes to a temporary name, syncs, then renames: a file under the final name is always whole. @throws IoError.
void write_tensor_file(const std::filesystem::path& path, const TensorFile& content);

/// @throws DataError when the file is absent, truncated, damaged or of another format.
[[nodiscard]] TensorFile read_tensor_file(const std::filesystem::path& path);

}  // namespace bliss::encoder
