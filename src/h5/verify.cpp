#include "verify.hpp"

#include "bliss/core/checksum.hpp"
#include "bliss/core/error.hpp"

#include <algorithm>
#include <fstream>

namespace bliss::h5::detail {

void WriteRecord::add(std::int64_t start, std::span<const std::byte> bytes) {
    if (!bytes.empty()) written_.push_back({start, std::ssize(bytes), checksum(bytes)});
}

void WriteRecord::verify(const std::filesystem::path& path) const {
    std::ifstream in{path, std::ios::binary};
    if (!in) throw IoError(path.string() + ": cannot open to check what was written");
    std::vector<std::byte> buffer(std::size_t{1} << 20);
    for (const WrittenBytes& part : written_) {
        in.seekg(part.start);
        Checksum hash;
        for (std::int64_t left = part.size; left > 0 && in;) {
            const std::int64_t piece = std::min(left, std::ssize(buffer));
            in.read(reinterpret_cast<char*>(buffer.data()), piece);
            hash.add(std::span{buffer}.first(static_cast<std::size_t>(in.gcount())));
            left -= piece;
        }
        if (!in || hash.value() != part.hash)
            throw IoError(path.string() + ": does not hold what was written (bytes " + std::to_string(part.start) + " to " +
                          std::to_string(part.start + part.size) + "); is the disk full, a quota reached or the disk damaged?");
    }
}

}  // namespace bliss::h5::detail
