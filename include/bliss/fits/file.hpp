#pragma once

#include "bliss/core/image.hpp"

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

namespace bliss::fits {

/// A stack of images of one shape, row-major: element (plane, row, col) is at (plane * H + row) * W + col.
template <class T>
struct Cube {
    std::int64_t depth = 0;
    std::int64_t height = 0;
    std::int64_t width = 0;
    std::vector<T> values;  ///< (depth, height, width)
};

/// What one table column holds, row by row; the nested ones hold arrays of any length each ("PB", "PE").
using ColumnValues = std::variant<std::vector<double>, std::vector<float>, std::vector<std::int32_t>,
                                  std::vector<std::int64_t>, std::vector<std::string>, std::vector<std::vector<std::uint8_t>>,
                                  std::vector<std::vector<float>>>;

/// One column of a binary table to write.
struct Column {
    std::string name;     ///< TTYPEn
    std::string unit;     ///< TUNITn; empty: none is written
    std::string comment;  ///< comment of the TTYPEn card: what the column means; empty: CFITSIO's own
    ColumnValues values;
    std::vector<std::int64_t> shape = {};  ///< of the array of numbers in each row, slowest axis first (TDIMn); empty: one element
};

/// Version of the CFITSIO library as it numbers itself, "4.02" for 4.2.
[[nodiscard]] std::string library_version();

/// A FITS file, open for reading or being written. Owns the CFITSIO handle; one thread at a time may use one object,
/// different objects may be used at once.
///
/// HDUs are counted from 0 (the primary HDU). Reading functions work on the selected HDU, at first HDU 0; rows, planes and
/// shapes are in C order, slowest axis first, so an image has shape {H, W}. Selecting an HDU whose data the file does not
/// hold in full (a truncated file) throws.
///
/// Every member but the destructor, `path` and moves @throws FitsError naming the path, the HDU, what was tried,
/// CFITSIO's own messages, and what to do.
class FitsFile {
public:
    /// Opens for reading. Files compressed with bzip2 or gzip (told by content, not by name) are decompressed into memory
    /// here and verified to the last checksum: CFITSIO itself takes a truncated or damaged stream for a shorter file.
    static FitsFile open(const std::filesystem::path& path);

    /// Starts a new file, written as PATH.partial until `commit`. A leftover PATH.partial is replaced.
    static FitsFile create(const std::filesystem::path& path);

    FitsFile(FitsFile&&) noexcept;
    FitsFile& operator=(FitsFile&&) noexcept;
    /// Closes the file; of a file that was created but not committed it removes the partial file.
    ~FitsFile();

    /// Closes a created file and gives it its final name, replacing an older file of that name. The object is then closed.
    void commit();

    [[nodiscard]] const std::filesystem::path& path() const;

    [[nodiscard]] int hdu_count();
    [[nodiscard]] int selected_hdu() const;
    void select(int hdu);
    void select(const std::string& extname);
    [[nodiscard]] bool has_hdu(const std::string& extname);

    // ---- header ----

    /// Value of a header key; T is bool, std::int64_t, double or std::string.
    template <class T>
    [[nodiscard]] T read_key(const std::string& name);

    /// The same, or nothing where the key is absent (a key of another type still throws).
    template <class T>
    [[nodiscard]] std::optional<T> find_key(const std::string& name);

    struct Cards {
        std::string text;  ///< cards of 80 characters, joined, without END
        int count = 0;
    };
    /// All cards of the selected header, as wcslib takes them.
    [[nodiscard]] Cards header_cards();

    // ---- images; T is float, double, std::uint8_t or std::int32_t, BSCALE and BZERO applied ----

    /// Shape of the selected image, slowest axis first; empty when the HDU holds no image data.
    [[nodiscard]] std::vector<std::int64_t> image_shape();
    template <class T>
    [[nodiscard]] Image<T> read_image();  ///< throws when the image does not have 2 axes
    template <class T>
    [[nodiscard]] std::vector<T> read_vector();  ///< throws when the image does not have 1 axis
    template <class T>
    [[nodiscard]] Cube<T> read_cube();  ///< throws when the image does not have 3 axes

    // ---- tables ----

    [[nodiscard]] bool is_table();
    [[nodiscard]] bool has_column(const std::string& name);
    [[nodiscard]] std::int64_t row_count();
    /// Shape of one element of a column (TDIMn), slowest axis first; {1} for a scalar.
    [[nodiscard]] std::vector<std::int64_t> column_shape(const std::string& name);
    /// A scalar column; T is double, float, std::int32_t, std::int64_t or std::string (trailing blanks dropped).
    template <class T>
    [[nodiscard]] std::vector<T> read_column(const std::string& name);
    /// A column of fixed-length arrays as (rows, length); T is double, float, std::int32_t or std::int64_t.
    template <class T>
    [[nodiscard]] Image<T> read_array_column(const std::string& name);
    /// A column of byte strings of any length each ("PB"), as they lie in the file; T is std::uint8_t.
    template <class T>
    [[nodiscard]] std::vector<std::vector<T>> read_variable_column(const std::string& name);

    // ---- writing: each call appends an HDU; write_key then adds to the newest one ----

    /// Writes an image; T is float, double or std::uint8_t. The first one, with an empty `extname`, is the primary HDU.
    /// `cards`: header cards of 80 characters, joined (Wcs::header_cards()), or empty.
    template <class T>
    void write_image(const Image<T>& image, const std::string& extname = {}, const std::string& cards = {});
    template <class T>
    void write_vector(const std::vector<T>& values, const std::string& extname = {});  ///< an image of 1 axis
    template <class T>
    void write_cube(const Cube<T>& cube, const std::string& extname = {}, const std::string& cards = {});
    void write_table(const std::string& extname, const std::vector<Column>& columns);

    using KeyValue = std::variant<bool, std::int64_t, double, std::string>;
    /// Adds or replaces one key of the newest HDU. A file without any HDU gets an empty primary HDU first.
    void write_key(const std::string& name, const KeyValue& value, const std::string& comment);

private:
    struct Impl;
    explicit FitsFile(std::unique_ptr<Impl> impl);
    std::unique_ptr<Impl> impl_;
};

}  // namespace bliss::fits
