#include "impl.hpp"

#include <bzlib.h>
#include <fmt/format.h>
#include <zlib.h>

#include <algorithm>
#include <array>
#include <fstream>
#include <system_error>

namespace bliss::fits {
namespace {

using Bytes = std::vector<unsigned char>;

[[noreturn]] void damaged(const std::filesystem::path& path, std::string_view kind, std::string_view what) {
    throw FitsError(
        fmt::format("{}: decompressing: the {} stream {}; fetch the file again (its size or checksum will differ "
                    "from the archive's)",
                    path.string(), kind, what));
}

Bytes read_all(const std::filesystem::path& path) {
    std::ifstream in(path, std::ios::binary);
    std::error_code error;
    const auto size = std::filesystem::file_size(path, error);
    if (error) throw FitsError(fmt::format("{}: {}; check the disk", path.string(), error.message()));
    Bytes bytes(static_cast<std::size_t>(size));
    in.read(reinterpret_cast<char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
    if (!in) throw FitsError(fmt::format("{}: reading the file failed; check the disk and the permissions", path.string()));
    return bytes;
}

/// Output that grows as the stream unfolds.
struct Output {
    Bytes bytes;
    std::size_t used = 0;

    void reserve_more() {
        if (used == bytes.size()) bytes.resize(bytes.size() + bytes.size() / 2 + 65536);
    }
    // A stream's counters have 32 bits, so a large file goes through in pieces.
    [[nodiscard]] unsigned room() const {
        return static_cast<unsigned>(std::min<std::size_t>(bytes.size() - used, 1u << 30));
    }
};

unsigned piece(const Bytes& input, std::size_t taken) {
    return static_cast<unsigned>(std::min<std::size_t>(input.size() - taken, 1u << 30));
}

Bytes inflate_bzip2(const std::filesystem::path& path, Bytes input) {
    Output out{Bytes(input.size() * 4), 0};
    std::size_t taken = 0;
    // Parallel compressors write several streams one after the other.
    while (input.size() - taken >= 3 && std::string_view(reinterpret_cast<char*>(&input[taken]), 3) == "BZh") {
        bz_stream stream{};
        if (BZ2_bzDecompressInit(&stream, 0, 0) != BZ_OK) damaged(path, "bzip2", "could not be started (out of memory)");
        const std::unique_ptr<bz_stream, int (*)(bz_stream*)> closer(&stream, BZ2_bzDecompressEnd);
        for (int state = BZ_OK; state != BZ_STREAM_END;) {
            out.reserve_more();
            const unsigned given = piece(input, taken);
            const unsigned room = out.room();
            stream.next_in = reinterpret_cast<char*>(input.data() + taken);
            stream.avail_in = given;
            stream.next_out = reinterpret_cast<char*>(out.bytes.data() + out.used);
            stream.avail_out = room;
            state = BZ2_bzDecompress(&stream);
            taken += given - stream.avail_in;
            out.used += room - stream.avail_out;
            if (state != BZ_OK && state != BZ_STREAM_END)
                damaged(path, "bzip2", "is corrupt (a block's checksum or code is wrong)");
            if (state == BZ_OK && taken == input.size() && stream.avail_out > 0) damaged(path, "bzip2", "is truncated");
        }
    }
    out.bytes.resize(out.used);
    return std::move(out.bytes);
}

Bytes inflate_gzip(const std::filesystem::path& path, Bytes input) {
    Output out{Bytes(input.size() * 4), 0};
    std::size_t taken = 0;
    while (input.size() - taken >= 2 && input[taken] == 0x1f && input[taken + 1] == 0x8b) {
        z_stream stream{};
        constexpr int k_gzip_window = 16 + MAX_WBITS;
        if (inflateInit2(&stream, k_gzip_window) != Z_OK) damaged(path, "gzip", "could not be started (out of memory)");
        const std::unique_ptr<z_stream, int (*)(z_stream*)> closer(&stream, inflateEnd);
        for (int state = Z_OK; state != Z_STREAM_END;) {
            out.reserve_more();
            const unsigned given = piece(input, taken);
            const unsigned room = out.room();
            stream.next_in = input.data() + taken;
            stream.avail_in = given;
            stream.next_out = out.bytes.data() + out.used;
            stream.avail_out = room;
            state = inflate(&stream, Z_NO_FLUSH);
            taken += given - stream.avail_in;
            out.used += room - stream.avail_out;
            const bool starved = taken == input.size() && stream.avail_out > 0;
            if (state != Z_STREAM_END && starved && (state == Z_OK || state == Z_BUF_ERROR))
                damaged(path, "gzip", "is truncated");
            if (state != Z_OK && state != Z_STREAM_END && state != Z_BUF_ERROR) damaged(path, "gzip", "is corrupt");
        }
    }
    out.bytes.resize(out.used);
    return std::move(out.bytes);
}

}  // namespace

std::optional<Bytes> decompress(const std::filesystem::path& path) {
    std::array<char, 3> mark{};
    std::ifstream(path, std::ios::binary).read(mark.data(), mark.size());
    if (std::string_view(mark.data(), 3) == "BZh") return inflate_bzip2(path, read_all(path));
    if (std::string_view(mark.data(), 2) == "\x1f\x8b") return inflate_gzip(path, read_all(path));
    return std::nullopt;
}

}  // namespace bliss::fits
