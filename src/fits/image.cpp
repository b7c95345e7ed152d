#include "impl.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <limits>

namespace bliss::fits {
namespace {

template <class T>
constexpr int bitpix() {
    if constexpr (std::is_same_v<T, double>) return DOUBLE_IMG;
    if constexpr (std::is_same_v<T, float>) return FLOAT_IMG;
    if constexpr (std::is_same_v<T, std::uint8_t>) return BYTE_IMG;
}

/// Cards that describe the array or its place in the file: the image being written has its own.
bool describes_array(std::string_view card) {
    constexpr std::array<std::string_view, 14> k_names{"SIMPLE",   "XTENSION", "BITPIX", "EXTEND", "PCOUNT",
                                                       "GCOUNT",   "BSCALE",   "BZERO",  "BLANK",  "EXTNAME",
                                                       "CHECKSUM", "DATASUM",  "END",    "GROUPS"};
    const std::string_view name = card.substr(0, card.substr(0, 8).find_last_not_of(' ') + 1);
    if (name.starts_with("NAXIS")) return true;
    return std::find(k_names.begin(), k_names.end(), name) != k_names.end();
}

}  // namespace

std::string shape_text(const std::vector<std::int64_t>& shape) { return fmt::format("[{}]", fmt::join(shape, ", ")); }

std::vector<std::int64_t> FitsFile::Impl::image_shape() const {
    constexpr std::string_view k_operation = "reading the image's shape";
    int status = 0;
    int kind = 0;
    fits_get_hdu_type(handle, &kind, &status);
    check(status, k_operation);
    if (kind != IMAGE_HDU) fail(k_operation, "the HDU holds a table", "select the HDU that holds the image");
    int axes = 0;
    fits_get_img_dim(handle, &axes, &status);
    std::vector<LONGLONG> sides(static_cast<std::size_t>(axes));
    if (axes > 0) fits_get_img_sizell(handle, axes, sides.data(), &status);
    check(status, k_operation);
    return {sides.rbegin(), sides.rend()};
}

std::vector<std::int64_t> FitsFile::Impl::image_shape(std::size_t axes) const {
    auto shape = image_shape();
    if (shape.size() != axes) {
        fail("reading an image", fmt::format("it has shape {}, an image with {} axes is wanted", shape_text(shape), axes),
             "select the HDU that holds the image");
    }
    constexpr double k_most_pixels = 1e10;
    double pixels = 1;
    for (const std::int64_t side : shape) pixels *= static_cast<double>(side);
    if (!(pixels >= 0 && pixels <= k_most_pixels)) {
        fail("reading an image", fmt::format("its header gives the shape {}", shape_text(shape)),
             "the header is damaged: fetch the file again");
    }
    return shape;
}

template <class T>
void FitsFile::Impl::read_pixels(T* values, std::size_t count) const {
    if (count == 0) return;
    T blank{};
    void* replacement = nullptr;
    if constexpr (std::is_floating_point_v<T>) {
        // Undefined pixels of an integer image (BLANK) become NaN, as they are in a floating-point one.
        blank = std::numeric_limits<T>::quiet_NaN();
        replacement = &blank;
    }
    int status = 0;
    int has_blank = 0;
    fits_read_img(handle, type_code<T>(), 1, static_cast<LONGLONG>(count), replacement, values, &has_blank, &status);
    check(status, "reading the image");
}

std::vector<std::int64_t> FitsFile::image_shape() { return impl_->image_shape(); }

template <class T>
Image<T> FitsFile::read_image() {
    const auto shape = impl_->image_shape(2);
    Image<T> image(shape[0], shape[1]);
    impl_->read_pixels(image.data(), static_cast<std::size_t>(image.size()));
    return image;
}

template <class T>
std::vector<T> FitsFile::read_vector() {
    const auto shape = impl_->image_shape(1);
    std::vector<T> values(static_cast<std::size_t>(shape[0]));
    impl_->read_pixels(values.data(), values.size());
    return values;
}

template <class T>
Cube<T> FitsFile::read_cube() {
    const auto shape = impl_->image_shape(3);
    Cube<T> cube{shape[0], shape[1], shape[2], std::vector<T>(static_cast<std::size_t>(shape[0] * shape[1] * shape[2]))};
    impl_->read_pixels(cube.values.data(), cube.values.size());
    return cube;
}

void FitsFile::Impl::write_cards(const std::string& cards) const {
    constexpr std::size_t k_card = 80;
    int status = 0;
    for (std::size_t start = 0; start < cards.size(); start += k_card) {
        const std::string card = cards.substr(start, k_card);
        if (card.find_first_not_of(' ') == std::string::npos || describes_array(card)) continue;
        fits_write_record(handle, card.c_str(), &status);
        check(status, fmt::format("writing the header card '{}'", card));
    }
}

void FitsFile::Impl::write_pixels(int bits, int type, const std::vector<std::int64_t>& shape, const void* values,
                                  const std::string& extname, const std::string& cards) {
    if (!is_writing()) fail("writing an image", "the file is open for reading", "create a file to write");
    // A named image is an extension, so that every file made here has the same layout: HDU 0 is unnamed.
    if (!has_hdu && !extname.empty()) write_pixels(BYTE_IMG, TBYTE, {}, nullptr, {}, {});
    std::vector<LONGLONG> sides(shape.rbegin(), shape.rend());
    const std::string operation = fmt::format("writing the image '{}' of shape {}", extname, shape_text(shape));
    int status = 0;
    fits_create_imgll(handle, bits, static_cast<int>(sides.size()), sides.data(), &status);
    check(status, operation);
    has_hdu = true;
    if (!extname.empty()) {
        fits_write_key_str(handle, "EXTNAME", extname.c_str(), nullptr, &status);
        check(status, operation);
    }
    write_cards(cards);
    LONGLONG count = shape.empty() ? 0 : 1;
    for (const LONGLONG side : sides) count *= side;
    if (count > 0) fits_write_img(handle, type, 1, count, const_cast<void*>(values), &status);
    check(status, operation);
}

template <class T>
void FitsFile::write_image(const Image<T>& image, const std::string& extname, const std::string& cards) {
    impl_->write_pixels(bitpix<T>(), type_code<T>(), {image.height(), image.width()}, image.data(), extname, cards);
}

template <class T>
void FitsFile::write_vector(const std::vector<T>& values, const std::string& extname) {
    impl_->write_pixels(bitpix<T>(), type_code<T>(), {std::ssize(values)}, values.data(), extname, {});
}

template <class T>
void FitsFile::write_cube(const Cube<T>& cube, const std::string& extname, const std::string& cards) {
    const std::vector<std::int64_t> shape{cube.depth, cube.height, cube.width};
    if (cube.depth * cube.height * cube.width != static_cast<std::int64_t>(cube.values.size())) {
        impl_->fail(fmt::format("writing the cube '{}'", extname),
                    fmt::format("{} values do not fill shape {}", cube.values.size(), shape_text(shape)),
                    "give depth * height * width values");
    }
    impl_->write_pixels(bitpix<T>(), type_code<T>(), shape, cube.values.data(), extname, cards);
}

#define BLISS_INSTANTIATE_READ(T)                       \
    template Image<T> FitsFile::read_image<T>();        \
    template std::vector<T> FitsFile::read_vector<T>(); \
    template Cube<T> FitsFile::read_cube<T>();
BLISS_INSTANTIATE_READ(float)
BLISS_INSTANTIATE_READ(double)
BLISS_INSTANTIATE_READ(std::uint8_t)
BLISS_INSTANTIATE_READ(std::int32_t)
#undef BLISS_INSTANTIATE_READ

#define BLISS_INSTANTIATE_WRITE(T)                                                                   \
    template void FitsFile::write_image<T>(const Image<T>&, const std::string&, const std::string&); \
    template void FitsFile::write_vector<T>(const std::vector<T>&, const std::string&);              \
    template void FitsFile::write_cube<T>(const Cube<T>&, const std::string&, const std::string&);
BLISS_INSTANTIATE_WRITE(float)
BLISS_INSTANTIATE_WRITE(double)
BLISS_INSTANTIATE_WRITE(std::uint8_t)
#undef BLISS_INSTANTIATE_WRITE

}  // namespace bliss::fits
