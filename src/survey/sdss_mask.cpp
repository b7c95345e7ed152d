#include "sdss_mask.hpp"

#include "bliss/core/error.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <string>

namespace bliss::survey {
namespace {

/// Depth of the edge that PHOTO's object finder leaves out, rounded up.
constexpr std::int64_t k_edge_px = 8;

struct Span {
    std::int64_t row = 0;
    std::int64_t first_col = 0;
    std::int64_t last_col = 0;
};

/// Big-endian 16-bit number at position `index`.
std::int64_t number_at(const std::vector<std::uint8_t>& bytes, std::size_t index) {
    return static_cast<std::int16_t>(bytes[2 * index] << 8 | bytes[2 * index + 1]);
}

/// Spans of one plane: each row of the table is an object whose column S holds triples (row, first column, last column).
std::vector<Span> read_spans(fits::FitsFile& file, int hdu) {
    file.select(hdu);
    std::vector<Span> spans;
    if (file.row_count() == 0) return spans;
    constexpr std::size_t k_span_bytes = 6;
    const auto lengths = file.read_column<std::int64_t>("nspan");
    const auto objects = file.read_variable_column<std::uint8_t>("s");
    for (std::size_t i = 0; i < objects.size(); ++i) {
        if (objects[i].size() != static_cast<std::size_t>(std::max<std::int64_t>(lengths[i], 0)) * k_span_bytes) {
            throw DataError(fmt::format("{}[HDU {}]: mask object {} has {} bytes for {} spans; fetch the file again",
                                        file.path().string(), hdu, i, objects[i].size(), lengths[i]));
        }
        for (std::size_t k = 0; k + 3 <= objects[i].size() / 2; k += 3) {
            spans.push_back({number_at(objects[i], k), number_at(objects[i], k + 1), number_at(objects[i], k + 2)});
        }
    }
    return spans;
}

/// HDU of a plane: the last HDU names them, with "Value" counted from 0 where HDUs of planes start at 1.
int hdu_of_plane(fits::FitsFile& file, const std::string& plane) {
    constexpr int k_names_hdu = 11;
    file.select(k_names_hdu);
    const auto names = file.read_column<std::string>("attributeName");
    const auto values = file.read_column<std::int64_t>("Value");
    const auto found = std::find(names.begin(), names.end(), plane);
    if (found == names.end() || values[static_cast<std::size_t>(found - names.begin())] + 1 >= k_names_hdu) {
        throw DataError(fmt::format("{}[HDU {}]: there is no mask plane {}; is it an fpM file?", file.path().string(),
                                    k_names_hdu, plane));
    }
    return static_cast<int>(values[static_cast<std::size_t>(found - names.begin())]) + 1;
}

}  // namespace

void apply_sdss_mask(fits::FitsFile& mask, Image<std::uint8_t>& valid) {
    mask.select(0);
    const std::int64_t rows = mask.read_key<std::int64_t>("MASKROWS");
    const std::int64_t cols = mask.read_key<std::int64_t>("MASKCOLS");
    if (rows != valid.height() || cols != valid.width()) {
        throw DataError(fmt::format("{}: the mask has shape [{}, {}], the image [{}, {}]; use files of the same frame",
                                    mask.path().string(), rows, cols, valid.height(), valid.width()));
    }
    for (const std::string plane : {"S_MASK_SATUR", "S_MASK_CR", "S_MASK_INTERP", "S_MASK_NOTCHECKED"}) {
        const std::int64_t edge = plane == "S_MASK_NOTCHECKED" ? k_edge_px : 0;
        for (const auto& [row, first_col, last_col] : read_spans(mask, hdu_of_plane(mask, plane))) {
            if (row < edge || row >= rows - edge) continue;
            for (std::int64_t col = std::max(first_col, edge); col <= std::min(last_col, cols - 1 - edge); ++col) {
                valid(row, col) = 0;
            }
        }
    }
}

}  // namespace bliss::survey
