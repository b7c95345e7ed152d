#pragma once

#include <filesystem>
#include <string>
#include <string_view>

namespace bliss {

/// SHA256 of a text, as 64 lower-case hexadecimal digits.
[[nodiscard]] std::string sha256_of_text(std::string_view text);

/// SHA256 of a file's bytes. @throws IoError when the file cannot be read.
[[nodiscard]] std::string sha256_of_file(const std::filesystem::path& path);

}  // namespace bliss
