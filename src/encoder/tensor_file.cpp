#include "bliss/encoder/tensor_file.hpp"

#include "bliss/core/atomic_file.hpp"
#include "bliss/core/checksum.hpp"
#include "bliss/core/error.hpp"

#include <fmt/format.h>
#include <torch/torch.h>
#include <nlohmann/json.hpp>

#include <array>
#include <cstdint>
#include <fstream>
#include <limits>
#include <span>
#include <utility>
#include <vector>

namespace bliss::encoder {
namespace {

constexpr std::uint64_t k_header_limit = 100'000'000;
/// Among the metadata: a checksum of all tensors in the order of their names.
constexpr const char* k_checksum = "tensors_xxh3";

struct Dtype {
    const char* name;
    torch::ScalarType type;
};
constexpr Dtype k_dtypes[] = {{"F32", torch::kFloat}, {"F64", torch::kDouble}, {"I64", torch::kLong}};

const char* name_of(torch::ScalarType type) {
    for (const auto& dtype : k_dtypes) {
        if (dtype.type == type) return dtype.name;
    }
    throw std::logic_error("tensor files hold float, double and int64");
}

[[noreturn]] void bad(const std::filesystem::path& path, std::string_view problem) {
    throw DataError(fmt::format("{}: {}", path.string(), problem));
}

torch::ScalarType type_of(const std::string& name, const std::filesystem::path& path) {
    for (const auto& dtype : k_dtypes) {
        if (name == dtype.name) return dtype.type;
    }
    bad(path, fmt::format("holds a tensor of type {}, which this program does not use", name));
}

/// Whether so many numbers, of `size` bytes each, are exactly so many bytes.
bool fills(const std::vector<std::int64_t>& shape, std::uint64_t size, std::uint64_t bytes) {
    for (const std::int64_t side : shape) {
        if (side < 0 || (side > 0 && size > std::numeric_limits<std::uint64_t>::max() / static_cast<std::uint64_t>(side))) return false;
        size *= static_cast<std::uint64_t>(side);
    }
    return size == bytes;
}

std::span<const std::byte> bytes_of(const at::Tensor& plain) { return {static_cast<const std::byte*>(plain.data_ptr()), plain.nbytes()}; }

std::string text_of(const Checksum& sum) { return fmt::format("{:016x}", sum.value()); }

}  // namespace

void write_tensor_file(const std::filesystem::path& path, const TensorFile& content) {
    nlohmann::json header;
    std::uint64_t offset = 0;
    std::vector<at::Tensor> plain;
    Checksum sum;
    for (const auto& [name, tensor] : content.tensors) {
        plain.push_back(tensor.detach().cpu().contiguous(torch::MemoryFormat::Contiguous));
        sum.add(bytes_of(plain.back()));
        const std::uint64_t bytes = tensor.nbytes();
        header[name] = {
            {"dtype", name_of(tensor.scalar_type())}, {"shape", tensor.sizes().vec()}, {"data_offsets", {offset, offset + bytes}}};
        offset += bytes;
    }
    auto metadata = content.metadata;
    metadata[k_checksum] = text_of(sum);
    header["__metadata__"] = std::move(metadata);
    std::string text = header.dump();
    text.append((8 - text.size() % 8) % 8, ' ');
    const std::uint64_t length = text.size();
    AtomicFile file{path};
    file.write(&length, sizeof length);
    file.write(text.data(), text.size());
    for (const at::Tensor& tensor : plain) file.write(tensor.data_ptr(), tensor.nbytes());
    file.commit();
}

TensorFile read_tensor_file(const std::filesystem::path& path) {
    std::ifstream file{path, std::ios::binary};
    if (!file) bad(path, "no such file, or not readable");
    std::uint64_t length = 0;
    file.read(reinterpret_cast<char*>(&length), sizeof length);
    if (!file || length > k_header_limit) bad(path, "not a tensor file (its header has no sensible length)");
    std::string text(length, '\0');
    file.read(text.data(), static_cast<std::streamsize>(length));
    if (!file) bad(path, "truncated in its header");
    const nlohmann::json header = nlohmann::json::parse(text, nullptr, false);
    if (!header.is_object()) bad(path, "not a tensor file (its header is not JSON)");

    const std::uint64_t bytes = std::filesystem::file_size(path) - sizeof length - length;  // of all tensors
    TensorFile content;
    for (const auto& [name, entry] : header.items()) {
        try {
            if (name == "__metadata__") {
                content.metadata = entry.get<std::map<std::string, std::string>>();
                continue;
            }
            const auto shape = entry.at("shape").get<std::vector<std::int64_t>>();
            const auto offsets = entry.at("data_offsets").get<std::array<std::uint64_t, 2>>();
            const torch::ScalarType type = type_of(entry.at("dtype").get<std::string>(), path);
            if (offsets[1] < offsets[0] || offsets[1] > bytes || !fills(shape, torch::elementSize(type), offsets[1] - offsets[0])) {
                bad(path, fmt::format("truncated or damaged: tensor '{}' does not fit its place in the file", name));
            }
            at::Tensor tensor = torch::empty(shape, type);
            file.seekg(static_cast<std::streamoff>(sizeof length + length + offsets[0]));
            file.read(static_cast<char*>(tensor.data_ptr()), static_cast<std::streamsize>(tensor.nbytes()));
            if (!file) bad(path, fmt::format("truncated in tensor '{}'", name));
            content.tensors.emplace(name, std::move(tensor));
        } catch (const nlohmann::json::exception&) {
            bad(path, fmt::format("its header's entry '{}' is of another form; is it damaged?", name));
        }
    }
    const auto expected = content.metadata.extract(k_checksum);
    if (expected.empty()) return content;  // of a program before checksums
    Checksum sum;
    for (const auto& [name, tensor] : content.tensors) sum.add(bytes_of(tensor));
    if (text_of(sum) != expected.mapped()) bad(path, "damaged: its tensors are not those that were written");
    return content;
}

}  // namespace bliss::encoder
