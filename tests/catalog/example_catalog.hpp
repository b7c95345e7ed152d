#pragma once

#include "bliss/catalog/schema.hpp"

#include <cmath>
#include <cstdint>

namespace bliss::test {

/// Source `i` of field `index`: every member has a value of its own.
inline catalog::SourceRow example_source(std::int64_t index, std::int64_t i) {
    catalog::SourceRow row{};
    const double number = 1000.0 * static_cast<double>(index) + static_cast<double>(i);
    row.field_index = index;
    row.run = 94;
    row.camcol = 1;
    row.field = static_cast<std::int32_t>(index);
    row.tile_row = static_cast<std::int32_t>(i);
    row.tile_col = static_cast<std::int32_t>(2 * i);
    row.slot = static_cast<std::int32_t>(i % 2);
    row.x_px = number / 7;
    row.y_px = number / 3;
    row.x_err_px = 0.1;
    row.y_err_px = 0.2;
    row.x_low_px = number / 7 - 0.2;
    row.x_high_px = number / 7 + 0.15;
    row.y_low_px = number / 3 - 0.4;
    row.y_high_px = number / 3 + 0.3;
    row.ra_deg = 336.5 + number * 1e-6;
    row.dec_deg = -0.9;
    row.p_source = 1 / (1 + static_cast<double>(i % 10));
    row.p_star = static_cast<double>(i % 3) / 2;
    row.flux_nmgy = std::exp(0.01 * static_cast<double>(i));
    row.flux_err_nmgy = 1e-300;
    row.ln_flux_e = 6.9;
    row.ln_flux_e_err = 0.1;
    row.ln_flux_e_low = 6.7;
    row.ln_flux_e_high = 7.0;
    row.mag = 22.5;
    row.mag_err = std::nan("");
    row.half_light_radius_px = 2 + 1e-3 * number;
    row.half_light_radius_err_px = 0.3;
    row.half_light_radius_low_px = 1.5;
    row.half_light_radius_high_px = 2.7;
    row.axis_ratio = 0.6;
    row.axis_ratio_err = 0.1;
    row.axis_ratio_low = 0.4;
    row.axis_ratio_high = 0.8;
    row.angle_deg = 30 + static_cast<double>(i);
    row.angle_err_deg = 12;
    row.p_fit = 0.4;
    row.surroundings_sigma = -0.2;
    row.flags = 0xfffffff0u + static_cast<std::uint32_t>(i % 16);
    row.primary = static_cast<std::int32_t>(i % 4 != 0);
    return row;
}

/// Row `i` of the joint draws of field `index`.
inline catalog::SampleRow example_sample(std::int64_t index, std::int64_t i) {
    const double number = 1000.0 * static_cast<double>(index) + static_cast<double>(i);
    return {.field_index = index,
            .sample = static_cast<std::int32_t>(i / 7),
            .is_star = static_cast<std::int32_t>(i % 2),
            .x_px = number / 5,
            .y_px = number / 9,
            .ra_deg = 336.5,
            .dec_deg = -0.9 + number * 1e-6,
            .flux_nmgy = 1 + number,
            .ln_flux_e = 7.1,
            .half_light_radius_px = i % 2 ? std::nan("") : 1.8,
            .axis_ratio = i % 2 ? std::nan("") : 0.7,
            .angle_deg = i % 2 ? std::nan("") : 101.0,
            .primary = static_cast<std::int32_t>(i % 5 != 0)};
}

/// Row `i` of the tiles of field `index`.
inline catalog::TileRow example_tile(std::int64_t index, std::int64_t i) {
    return {.field_index = index,
            .tile_row = static_cast<std::int32_t>(i / 3),
            .tile_col = static_cast<std::int32_t>(i % 3),
            .p_count = {0.5F, 0.25F, 0.125F, 0.125F}};
}

/// Field `index` has `sources` sources; first_source is left to the writer.
inline catalog::FieldRow example_field(std::int64_t index, std::int64_t sources) {
    catalog::FieldRow row{};
    row.run = 94;
    row.camcol = 1;
    row.field = static_cast<std::int32_t>(index);
    row.status = sources == 0;
    catalog::set_text(row.band, "r");
    row.height_px = 1489;
    row.width_px = 2048;
    row.source_count = sources;
    row.expected_sources = 0.5 + static_cast<double>(sources);
    for (int i = 0; i < 4; ++i) row.corner_ra_deg[i] = 336 + i;
    row.psf_fwhm_px = 3.5;
    catalog::set_text(row.reason, sources == 0 ? "frame is missing" : "");
    return row;
}

/// Sources of field `index` in the examples: some fields have none.
inline std::int64_t example_count(std::int64_t index) { return index * 37 % 11 * 5; }
/// Rows of its joint draws.
inline std::int64_t example_samples(std::int64_t index) { return index * 37 % 11 * 3; }
/// Its tiles.
inline std::int64_t example_tiles(std::int64_t index) { return index * 37 % 11 * 2; }

inline catalog::Provenance example_provenance() {
    return {.configuration = "seed = 1\nname = \"é\"\n",
            .configuration_sha256 = "abc",
            .model_sha256 = "",
            .program_version = "0.1",
            .draws = 5};
}

/// `count` fields with their sources.
inline catalog::Catalog example_catalog(std::int64_t count) {
    catalog::Catalog all;
    static_cast<catalog::Provenance&>(all) = example_provenance();
    for (std::int64_t index = 0; index < count; ++index) {
        all.fields.push_back(example_field(index, example_count(index)));
        all.fields.back().first_source = std::ssize(all.sources);
        all.fields.back().first_sample = std::ssize(all.samples);
        all.fields.back().sample_count = example_samples(index);
        all.fields.back().first_tile = std::ssize(all.tiles);
        all.fields.back().tile_count = example_tiles(index);
        for (std::int64_t i = 0; i < example_tiles(index); ++i) all.tiles.push_back(example_tile(index, i));
        for (std::int64_t i = 0; i < example_count(index); ++i) all.sources.push_back(example_source(index, i));
        for (std::int64_t i = 0; i < example_samples(index); ++i) all.samples.push_back(example_sample(index, i));
    }
    return all;
}

}  // namespace bliss::test
