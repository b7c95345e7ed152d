#pragma once

#include "bliss/core/error.hpp"
#include "bliss/fits/file.hpp"

#include <fitsio.h>

#include <string_view>

namespace bliss::fits {

/// The CFITSIO handle and what messages need. Only src/fits sees this.
struct FitsFile::Impl {
    std::filesystem::path path;     ///< the final name
    std::filesystem::path partial;  ///< where a created file lies until commit; empty when reading
    fitsfile* handle = nullptr;
    std::vector<unsigned char> inflated;  ///< a compressed file's content; CFITSIO reads it where it lies
    void* memory = nullptr;               ///< CFITSIO keeps the addresses of these two
    std::size_t memory_bytes = 0;
    std::int64_t total_bytes = 0;  ///< size of the (decompressed) file, for reading
    bool has_hdu = false;          ///< writing: an HDU has been made

    Impl() = default;
    Impl(const Impl&) = delete;
    Impl& operator=(const Impl&) = delete;
    ~Impl();

    [[nodiscard]] bool is_writing() const { return !partial.empty(); }
    [[nodiscard]] int selected() const;

    /// Throws FitsError when status is not 0; takes CFITSIO's message stack with it.
    void check(int status, std::string_view operation) const;
    [[noreturn]] void fail(std::string_view operation, std::string_view problem, std::string_view advice) const;

    /// Throws when the file ends before the data of the selected HDU does.
    void verify_complete() const;
    [[nodiscard]] std::vector<std::int64_t> image_shape() const;
    /// The selected image's shape, which must have `axes` axes.
    [[nodiscard]] std::vector<std::int64_t> image_shape(std::size_t axes) const;
    template <class T>
    void read_pixels(T* values, std::size_t count) const;
    struct ColumnType {
        int number = 0;
        int code = 0;             ///< CFITSIO's type, negative for a variable-length column
        std::int64_t length = 0;  ///< elements in a row, characters for a string
        std::int64_t rows = 0;
    };
    [[nodiscard]] ColumnType column(const std::string& name) const;
    [[nodiscard]] std::int64_t row_count() const;
    /// Appends the header cards that do not describe the array itself.
    void write_cards(const std::string& cards) const;
    void write_pixels(int bitpix, int type, const std::vector<std::int64_t>& shape, const void* values,
                      const std::string& extname, const std::string& cards);
};

/// CFITSIO's code for an element type.
template <class T>
constexpr int type_code() {
    if constexpr (std::is_same_v<T, double>) return TDOUBLE;
    if constexpr (std::is_same_v<T, float>) return TFLOAT;
    if constexpr (std::is_same_v<T, std::uint8_t>) return TBYTE;
    if constexpr (std::is_same_v<T, std::int32_t>) return TINT;
    if constexpr (std::is_same_v<T, std::int64_t>) return TLONGLONG;
}

/// Whole content of a file that starts with bzip2's or gzip's mark, decompressed; nothing where it has neither.
/// @throws FitsError for a stream that is cut off or whose checksums are wrong.
[[nodiscard]] std::optional<std::vector<unsigned char>> decompress(const std::filesystem::path& path);

/// "[1489, 2048]", for messages.
[[nodiscard]] std::string shape_text(const std::vector<std::int64_t>& shape);

}  // namespace bliss::fits
