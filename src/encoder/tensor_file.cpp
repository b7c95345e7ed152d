#include "bliss/encoder/tensor_file.hpp"

#include "bliss/core/error.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <torch/torch.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <system_error>

namespace bliss::encoder {
namespace {

constexpr std::uint64_t k_header_limit = 100'000'000;

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

/// A file being written under a temporary name; removed unless committed.
class PartialFile {
public:
    explicit PartialFile(const std::filesystem::path& path)
        : final_{path}, partial_{path.string() + ".partial"}, descriptor_{::open(partial_.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0644)} {
        if (descriptor_ < 0) fail("cannot be created");
    }
    ~PartialFile() {
        if (descriptor_ >= 0) ::close(descriptor_);
        if (!committed_) ::unlink(partial_.c_str());
    }
    PartialFile(const PartialFile&) = delete;
    PartialFile& operator=(const PartialFile&) = delete;

    void write(const void* bytes, std::size_t count) {
        const char* at = static_cast<const char*>(bytes);
        while (count > 0) {
            const ssize_t written = ::write(descriptor_, at, count);
            if (written < 0 && errno == EINTR) continue;
            if (written <= 0) fail("cannot be written");
            at += written;
            count -= static_cast<std::size_t>(written);
        }
    }

    void commit() {
        if (::fsync(descriptor_) != 0) fail("cannot be synced to disk");
        const int closed = ::close(descriptor_);
        descriptor_ = -1;
        if (closed != 0) fail("cannot be closed");
        if (::rename(partial_.c_str(), final_.c_str()) != 0) fail("cannot be renamed to its final name");
        committed_ = true;
    }

private:
    [[noreturn]] void fail(std::string_view what) const {
        throw IoError(fmt::format("{}: {} ({}); check the path, permissions and free space", partial_.string(), what,
                                  std::generic_category().message(errno)));
    }

    std::filesystem::path final_;
    std::filesystem::path partial_;
    int descriptor_;
    bool committed_ = false;
};

}  // namespace

void write_tensor_file(const std::filesystem::path& path, const TensorFile& content) {
    nlohmann::json header;
    header["__metadata__"] = content.metadata;
    std::uint64_t offset = 0;
    for (const auto& [name, tensor] : content.tensors) {
        const std::uint64_t bytes = tensor.nbytes();
        header[name] = {{"dtype", name_of(tensor.scalar_type())}, {"shape", tensor.sizes().vec()}, {"data_offsets", {offset, offset + bytes}}};
        offset += bytes;
    }
    std::string text = header.dump();
    text.append((8 - text.size() % 8) % 8, ' ');
    const std::uint64_t length = text.size();
    PartialFile file{path};
    file.write(&length, sizeof length);
    file.write(text.data(), text.size());
    for (const auto& [name, tensor] : content.tensors) {
        const at::Tensor plain = tensor.detach().cpu().contiguous(torch::MemoryFormat::Contiguous);
        file.write(plain.data_ptr(), plain.nbytes());
    }
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

    TensorFile content;
    for (const auto& [name, entry] : header.items()) {
        if (name == "__metadata__") {
            content.metadata = entry.get<std::map<std::string, std::string>>();
            continue;
        }
        try {
            const auto shape = entry.at("shape").get<std::vector<std::int64_t>>();
            const auto offsets = entry.at("data_offsets").get<std::array<std::uint64_t, 2>>();
            at::Tensor tensor = torch::empty(shape, type_of(entry.at("dtype").get<std::string>(), path));
            if (offsets[1] - offsets[0] != tensor.nbytes()) bad(path, fmt::format("tensor '{}' has another size than its shape", name));
            file.seekg(static_cast<std::streamoff>(sizeof length + length + offsets[0]));
            file.read(static_cast<char*>(tensor.data_ptr()), static_cast<std::streamsize>(tensor.nbytes()));
            if (!file) bad(path, fmt::format("truncated in tensor '{}'", name));
            content.tensors.emplace(name, std::move(tensor));
        } catch (const nlohmann::json::exception&) {
            bad(path, fmt::format("tensor '{}' has an entry of another form", name));
        }
    }
    return content;
}

}  // namespace bliss::encoder
