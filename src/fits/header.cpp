#include "impl.hpp"

#include <fmt/format.h>

#include <array>
#include <cmath>

namespace bliss::fits {
namespace {

/// The FITS type letters a C++ type may be read from (fits_get_keytype).
template <class T>
constexpr std::string_view accepted_kinds() {
    if constexpr (std::is_same_v<T, bool>) return "L";
    if constexpr (std::is_same_v<T, std::int64_t>) return "I";
    if constexpr (std::is_same_v<T, double>) return "IF";
    if constexpr (std::is_same_v<T, std::string>) return "C";
}

template <class T>
constexpr std::string_view kind_name() {
    if constexpr (std::is_same_v<T, bool>) return "a logical value";
    if constexpr (std::is_same_v<T, std::int64_t>) return "an integer";
    if constexpr (std::is_same_v<T, double>) return "a number";
    if constexpr (std::is_same_v<T, std::string>) return "a text";
}

}  // namespace

template <class T>
std::optional<T> FitsFile::find_key(const std::string& name) {
    const std::string operation = fmt::format("reading key {}", name);
    std::array<char, FLEN_VALUE> text{};
    int status = 0;
    fits_read_keyword(impl_->handle, name.c_str(), text.data(), nullptr, &status);
    if (status == KEY_NO_EXIST) {
        fits_clear_errmsg();
        return std::nullopt;
    }
    impl_->check(status, operation);
    char kind = 0;
    fits_get_keytype(text.data(), &kind, &status);
    impl_->check(status, operation);
    if (accepted_kinds<T>().find(kind) == std::string_view::npos) {
        // CFITSIO would cut 4.71 to 4 without a word.
        impl_->fail(operation, fmt::format("its value {} is not {}", text.data(), kind_name<T>()), "correct the header");
    }
    if constexpr (std::is_same_v<T, std::string>) {
        char* value = nullptr;
        fits_read_key_longstr(impl_->handle, name.c_str(), &value, nullptr, &status);
        impl_->check(status, operation);
        std::string copy(value);
        fits_free_memory(value, &status);
        return copy;
    } else if constexpr (std::is_same_v<T, bool>) {
        int value = 0;
        fits_read_key(impl_->handle, TLOGICAL, name.c_str(), &value, nullptr, &status);
        impl_->check(status, operation);
        return value != 0;
    } else {
        T value{};
        fits_read_key(impl_->handle, type_code<T>(), name.c_str(), &value, nullptr, &status);
        impl_->check(status, operation);
        return value;
    }
}

template <class T>
T FitsFile::read_key(const std::string& name) {
    auto value = find_key<T>(name);
    if (!value) impl_->check(KEY_NO_EXIST, fmt::format("reading key {}", name));
    return *std::move(value);
}

FitsFile::Cards FitsFile::header_cards() {
    Cards cards;
    char* text = nullptr;
    int status = 0;
    fits_hdr2str(impl_->handle, 0, nullptr, 0, &text, &cards.count, &status);
    impl_->check(status, "reading the header");
    cards.text = text;
    fits_free_memory(text, &status);
    constexpr std::size_t k_card = 80;
    // CFITSIO ends the text with END but does not count it.
    cards.text.resize(static_cast<std::size_t>(cards.count) * k_card, ' ');
    return cards;
}

void FitsFile::write_key(const std::string& name, const KeyValue& value, const std::string& comment) {
    if (!impl_->has_hdu) impl_->write_pixels(BYTE_IMG, TBYTE, {}, nullptr, {}, {});
    const std::string operation = fmt::format("writing key {}", name);
    const char* const about = comment.c_str();
    int status = 0;
    if (const auto* flag = std::get_if<bool>(&value)) {
        int number = *flag ? 1 : 0;
        fits_update_key(impl_->handle, TLOGICAL, name.c_str(), &number, about, &status);
    } else if (const auto* integer = std::get_if<std::int64_t>(&value)) {
        LONGLONG number = *integer;
        fits_update_key(impl_->handle, TLONGLONG, name.c_str(), &number, about, &status);
    } else if (const auto* real = std::get_if<double>(&value)) {
        if (!std::isfinite(*real)) impl_->fail(operation, "a FITS header cannot hold NaN or infinity", "leave the key out");
        double number = *real;
        fits_update_key(impl_->handle, TDOUBLE, name.c_str(), &number, about, &status);
    } else {
        fits_update_key_longstr(impl_->handle, name.c_str(), std::get<std::string>(value).c_str(), about, &status);
    }
    impl_->check(status, operation);
}

template std::optional<bool> FitsFile::find_key(const std::string&);
template std::optional<std::int64_t> FitsFile::find_key(const std::string&);
template std::optional<double> FitsFile::find_key(const std::string&);
template std::optional<std::string> FitsFile::find_key(const std::string&);
template bool FitsFile::read_key(const std::string&);
template std::int64_t FitsFile::read_key(const std::string&);
template double FitsFile::read_key(const std::string&);
template std::string FitsFile::read_key(const std::string&);

}  // namespace bliss::fits
