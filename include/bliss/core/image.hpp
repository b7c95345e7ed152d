#pragma once

#include "bliss/core/check.hpp"

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace bliss {

/// A dense image of H rows and W columns, row-major: element (row, col) is at row * W + col.
/// Pixel (0, 0) is the first pixel of the FITS array; its centre is at x_px = 0, y_px = 0.
template <class T>
class Image {
public:
    Image() = default;
    Image(std::int64_t height, std::int64_t width, T value = T{})
        : height_{height}, width_{width}, data_(static_cast<std::size_t>(height * width), value) {
        BLISS_EXPECT(height >= 0 && width >= 0, "an image has no negative side");
    }

    [[nodiscard]] std::int64_t height() const { return height_; }
    [[nodiscard]] std::int64_t width() const { return width_; }
    [[nodiscard]] std::int64_t size() const { return height_ * width_; }

    T& operator()(std::int64_t row, std::int64_t col) { return data_[index(row, col)]; }
    const T& operator()(std::int64_t row, std::int64_t col) const { return data_[index(row, col)]; }

    [[nodiscard]] T* data() { return data_.data(); }
    [[nodiscard]] const T* data() const { return data_.data(); }
    [[nodiscard]] std::span<T> pixels() { return data_; }
    [[nodiscard]] std::span<const T> pixels() const { return data_; }

private:
    [[nodiscard]] std::size_t index(std::int64_t row, std::int64_t col) const {
        BLISS_EXPECT(row >= 0 && row < height_ && col >= 0 && col < width_, "pixel lies on the image");
        return static_cast<std::size_t>(row * width_ + col);
    }

    std::int64_t height_ = 0;
    std::int64_t width_ = 0;
    std::vector<T> data_;
};

}  // namespace bliss
