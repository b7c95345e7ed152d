#include "bliss/core/hash.hpp"

#include "bliss/core/error.hpp"

#include <fmt/format.h>
#include <openssl/evp.h>

#include <array>
#include <fstream>
#include <memory>

namespace bliss {
namespace {

class Sha256 {
public:
    Sha256() { EVP_DigestInit_ex(context_.get(), EVP_sha256(), nullptr); }

    void add(const char* bytes, std::size_t count) { EVP_DigestUpdate(context_.get(), bytes, count); }

    std::string hex() {
        std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
        unsigned int length = 0;
        EVP_DigestFinal_ex(context_.get(), digest.data(), &length);
        std::string text;
        for (unsigned int i = 0; i < length; ++i) text += fmt::format("{:02x}", digest[i]);
        return text;
    }

private:
    std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> context_{EVP_MD_CTX_new(), &EVP_MD_CTX_free};
};

}  // namespace

std::string sha256_of_text(std::string_view text) {
    Sha256 hash;
    hash.add(text.data(), text.size());
    return hash.hex();
}

std::string sha256_of_file(const std::filesystem::path& path) {
    std::ifstream file{path, std::ios::binary};
    if (!file) throw IoError(fmt::format("{}: no such file, or not readable", path.string()));
    Sha256 hash;
    std::array<char, 1 << 16> buffer{};
    while (file.read(buffer.data(), buffer.size()) || file.gcount() > 0) {
        hash.add(buffer.data(), static_cast<std::size_t>(file.gcount()));
    }
    if (!file.eof() || file.bad()) throw IoError(fmt::format("{}: cannot be read to its end; check the disk", path.string()));
    return hash.hex();
}

}  // namespace bliss
