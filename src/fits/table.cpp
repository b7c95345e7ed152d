#include "impl.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <type_traits>

namespace bliss::fits {
namespace {

/// Bytes that hold `count` texts of one width each with its closing zero, and the pointers CFITSIO wants.
struct TextBuffer {
    TextBuffer(std::size_t count, std::size_t width) : bytes(count * (width + 1), '\0'), rows(count) {
        for (std::size_t i = 0; i < count; ++i) rows[i] = &bytes[i * (width + 1)];
    }
    std::vector<char> bytes;
    std::vector<char*> rows;
};

template <class T>
char form_letter() {
    if constexpr (std::is_same_v<T, double>) return 'D';
    if constexpr (std::is_same_v<T, float>) return 'E';
    if constexpr (std::is_same_v<T, std::int32_t>) return 'J';
    if constexpr (std::is_same_v<T, std::int64_t>) return 'K';
    if constexpr (std::is_same_v<T, std::uint8_t>) return 'B';
    if constexpr (std::is_same_v<T, std::string>) return 'A';
}

template <class T>
inline constexpr bool is_variable = false;
template <class T>
inline constexpr bool is_variable<std::vector<T>> = true;

std::size_t widest(const std::vector<std::string>& texts) {
    std::size_t width = 1;
    for (const auto& text : texts) width = std::max(width, text.size());
    return width;
}

/// Elements in one row.
std::int64_t elements_of(const Column& column) {
    std::int64_t elements = 1;
    for (const std::int64_t side : column.shape) elements *= side;
    return elements;
}

/// TFORMn of a column; a text is as wide as the widest.
std::string form_of(const Column& column) {
    return std::visit(
        [&](const auto& values) {
            using T = typename std::decay_t<decltype(values)>::value_type;
            if constexpr (std::is_same_v<T, std::string>)
                return fmt::format("{}A", widest(values));
            else if constexpr (is_variable<T>)
                return fmt::format("1P{}", form_letter<typename T::value_type>());
            else
                return fmt::format("{}{}", elements_of(column), form_letter<T>());
        },
        column.values);
}

std::int64_t rows_of(const Column& column) {
    return std::visit([](const auto& values) { return std::ssize(values); }, column.values) / elements_of(column);
}

bool fills_rows(const Column& column) {
    return std::visit([](const auto& values) { return std::ssize(values); }, column.values) == rows_of(column) * elements_of(column);
}

/// Writes the values of one column, numbered from 1.
void write_values(fitsfile* handle, int number, const Column& column, int& status) {
    std::visit(
        [&](const auto& values) {
            using T = typename std::decay_t<decltype(values)>::value_type;
            // CFITSIO's signature wants pointers to what may change, it does not write to it.
            if constexpr (std::is_same_v<T, std::string>) {
                std::vector<char*> texts;
                for (const auto& text : values) texts.push_back(const_cast<char*>(text.c_str()));
                fits_write_col(handle, TSTRING, number, 1, 1, std::ssize(texts), texts.data(), &status);
            } else if constexpr (is_variable<T>) {
                using Element = typename T::value_type;
                for (std::size_t row = 0; row < values.size(); ++row) {
                    fits_write_col(handle, type_code<Element>(), number, static_cast<LONGLONG>(row) + 1, 1, std::ssize(values[row]),
                                   const_cast<Element*>(values[row].data()), &status);
                }
            } else {
                fits_write_col(handle, type_code<T>(), number, 1, 1, std::ssize(values), const_cast<T*>(values.data()), &status);
            }
        },
        column.values);
}

}  // namespace

bool FitsFile::is_table() {
    int status = 0;
    int kind = IMAGE_HDU;
    fits_get_hdu_type(impl_->handle, &kind, &status);
    impl_->check(status, "reading the HDU's type");
    return kind != IMAGE_HDU;
}

bool FitsFile::has_column(const std::string& name) {
    if (!is_table()) return false;
    int number = 0;
    int status = 0;
    std::string text = name;
    fits_get_colnum(impl_->handle, CASEINSEN, text.data(), &number, &status);
    fits_clear_errmsg();
    return status == 0;
}

std::int64_t FitsFile::row_count() {
    LONGLONG rows = 0;
    int status = 0;
    fits_get_num_rowsll(impl_->handle, &rows, &status);
    impl_->check(status, "counting rows");
    return rows;
}

FitsFile::Impl::ColumnType FitsFile::Impl::column(const std::string& name) const {
    const std::string operation = fmt::format("finding column {}", name);
    ColumnType column;
    int status = 0;
    std::string text = name;
    fits_get_colnum(handle, CASEINSEN, text.data(), &column.number, &status);
    check(status, operation);
    LONGLONG length = 0;
    LONGLONG rows = 0;
    fits_get_coltypell(handle, column.number, &column.code, &length, nullptr, &status);
    fits_get_num_rowsll(handle, &rows, &status);
    check(status, operation);
    column.length = length;
    column.rows = rows;
    return column;
}

std::vector<std::int64_t> FitsFile::column_shape(const std::string& name) {
    const auto column = impl_->column(name);
    if (column.code == TSTRING) return {1};
    constexpr int k_most_axes = 8;
    std::vector<LONGLONG> sides(k_most_axes);
    int axes = 0;
    int status = 0;
    fits_read_tdimll(impl_->handle, column.number, k_most_axes, &axes, sides.data(), &status);
    impl_->check(status, fmt::format("reading the shape of column {}", name));
    sides.resize(static_cast<std::size_t>(std::min(axes, k_most_axes)));
    return {sides.rbegin(), sides.rend()};
}

template <class T>
Image<T> FitsFile::read_array_column(const std::string& name) {
    const auto column = impl_->column(name);
    const std::string operation = fmt::format("reading column {}", name);
    if (column.code < 0 || column.code == TSTRING) {
        impl_->fail(operation, "its rows are not arrays of one length",
                    "check that the file is of the kind that was expected");
    }
    Image<T> values(column.rows, column.length);
    if (values.size() == 0) return values;
    T blank{};
    void* replacement = nullptr;
    if constexpr (std::is_floating_point_v<T>) {
        blank = std::numeric_limits<T>::quiet_NaN();
        replacement = &blank;
    }
    int status = 0;
    int has_blank = 0;
    fits_read_col(impl_->handle, type_code<T>(), column.number, 1, 1, values.size(), replacement, values.data(), &has_blank,
                  &status);
    impl_->check(status, operation);
    return values;
}

template <class T>
std::vector<T> FitsFile::read_column(const std::string& name) {
    const auto column = impl_->column(name);
    const std::string operation = fmt::format("reading column {}", name);
    if constexpr (std::is_same_v<T, std::string>) {
        if (column.code != TSTRING) impl_->fail(operation, "it holds numbers, not text", "read it as numbers");
        TextBuffer buffer(static_cast<std::size_t>(column.rows), static_cast<std::size_t>(column.length));
        int status = 0;
        int has_blank = 0;
        if (column.rows > 0) {
            fits_read_col(impl_->handle, TSTRING, column.number, 1, 1, column.rows, nullptr, buffer.rows.data(), &has_blank,
                          &status);
        }
        impl_->check(status, operation);
        std::vector<std::string> texts(buffer.rows.begin(), buffer.rows.end());
        for (auto& text : texts) text.erase(text.find_last_not_of(' ') + 1);
        return texts;
    } else {
        if (column.length != 1) {
            impl_->fail(operation, fmt::format("each row holds {} elements, one is wanted", column.length),
                        "read it as an array column");
        }
        const Image<T> values = read_array_column<T>(name);
        return {values.pixels().begin(), values.pixels().end()};
    }
}

template <class T>
std::vector<std::vector<T>> FitsFile::read_variable_column(const std::string& name) {
    const auto column = impl_->column(name);
    const std::string operation = fmt::format("reading column {}", name);
    if (column.code != -type_code<T>()) {
        impl_->fail(operation, "it is not a variable-length column of bytes",
                    "check that the file is of the kind that was expected");
    }
    std::vector<std::vector<T>> values(static_cast<std::size_t>(column.rows));
    int status = 0;
    for (std::int64_t row = 0; row < column.rows; ++row) {
        LONGLONG length = 0;
        LONGLONG offset = 0;
        fits_read_descriptll(impl_->handle, column.number, row + 1, &length, &offset, &status);
        impl_->check(status, operation);
        auto& value = values[static_cast<std::size_t>(row)];
        // The heap ends with the file: a length beyond it is damage, and no reason to ask for that much memory.
        if (length < 0 || length > impl_->total_bytes) impl_->check(READ_ERROR, operation);
        value.resize(static_cast<std::size_t>(length));
        int has_blank = 0;
        if (length > 0) {
            fits_read_col(impl_->handle, type_code<T>(), column.number, row + 1, 1, length, nullptr, value.data(),
                          &has_blank, &status);
        }
        impl_->check(status, operation);
    }
    return values;
}

void FitsFile::write_table(const std::string& extname, const std::vector<Column>& columns) {
    const std::string operation = fmt::format("writing the table '{}'", extname);
    if (!impl_->is_writing()) impl_->fail(operation, "the file is open for reading", "create a file to write");
    if (!impl_->has_hdu) impl_->write_pixels(BYTE_IMG, TBYTE, {}, nullptr, {}, {});
    const std::int64_t rows = columns.empty() ? 0 : rows_of(columns.front());
    std::vector<std::string> forms;
    std::vector<char*> names;
    std::vector<char*> form_texts;
    std::vector<char*> units;
    for (const auto& column : columns) {
        if (!fills_rows(column)) {
            impl_->fail(operation, fmt::format("column {} has no whole number of rows of {} elements", column.name, elements_of(column)),
                        "give as many values as its shape wants in every row");
        }
        if (rows_of(column) != rows) {
            impl_->fail(operation, fmt::format("column {} has {} rows, the first column {}", column.name, rows_of(column), rows),
                        "give all columns the same length");
        }
        forms.push_back(form_of(column));
    }
    for (std::size_t i = 0; i < columns.size(); ++i) {
        // CFITSIO's signature wants char*, it does not write to them.
        names.push_back(const_cast<char*>(columns[i].name.c_str()));
        form_texts.push_back(forms[i].data());
        units.push_back(const_cast<char*>(columns[i].unit.c_str()));
    }
    int status = 0;
    fits_create_tbl(impl_->handle, BINARY_TBL, 0, static_cast<int>(columns.size()), names.data(), form_texts.data(),
                    units.data(), extname.empty() ? nullptr : extname.c_str(), &status);
    impl_->check(status, operation);
    for (std::size_t i = 0; i < columns.size(); ++i) {
        const Column& column = columns[i];
        const int number = static_cast<int>(i) + 1;
        if (!column.comment.empty()) {
            fits_modify_comment(impl_->handle, fmt::format("TTYPE{}", number).c_str(), column.comment.c_str(), &status);
        }
        if (column.shape.size() > 1) {
            std::vector<LONGLONG> sides(column.shape.rbegin(), column.shape.rend());
            fits_write_tdimll(impl_->handle, number, static_cast<int>(sides.size()), sides.data(), &status);
        }
        if (rows > 0) write_values(impl_->handle, number, column, status);
        impl_->check(status, fmt::format("{}, column {}", operation, column.name));
    }
}

#define BLISS_INSTANTIATE(T)                                              \
    template std::vector<T> FitsFile::read_column<T>(const std::string&); \
    template Image<T> FitsFile::read_array_column<T>(const std::string&);
BLISS_INSTANTIATE(double)
BLISS_INSTANTIATE(float)
BLISS_INSTANTIATE(std::int32_t)
BLISS_INSTANTIATE(std::int64_t)
#undef BLISS_INSTANTIATE
template std::vector<std::string> FitsFile::read_column<std::string>(const std::string&);
template std::vector<std::vector<std::uint8_t>> FitsFile::read_variable_column<std::uint8_t>(const std::string&);

}  // namespace bliss::fits
