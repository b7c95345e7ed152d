#include "bliss/core/error.hpp"
#include "command.hpp"

#include <fmt/format.h>

#include <fstream>

namespace bliss::apps {

bool is_hdf5(const std::string& path) {
    constexpr std::string_view k_magic = "\x89HDF\r\n\x1a\n";
    std::ifstream file{path, std::ios::binary};
    if (!file) throw DataError(fmt::format("{}: no such file, or not readable", path));
    std::string begin(k_magic.size(), '\0');
    file.read(begin.data(), static_cast<std::streamsize>(begin.size()));
    return file && begin == k_magic;
}

}  // namespace bliss::apps
