#include "bliss/simulator/truth_table.hpp"

#include "bliss/core/units.hpp"
#include "bliss/fits/file.hpp"

#include <cmath>

namespace bliss::simulator {

void write_truth(const std::filesystem::path& path, const FramesConfig& config, const ImageTruth& truth, double electrons_per_nmgy,
                 const survey::Wcs* wcs, std::span<const std::int64_t> ids) {
    std::vector<double> x, y, ra, dec, flux_e, flux_nmgy, mag, radius, axis_ratio, angle;
    std::vector<std::int32_t> is_star, labelled;
    std::vector<std::int64_t> id;
    for (std::size_t k = 0; k < truth.sources.size(); ++k) {
        const Source& s = truth.sources[k];
        const bool on_frame = s.x_px >= -0.5 && s.y_px >= -0.5 && s.x_px < static_cast<double>(config.width_px) - 0.5 &&
                              s.y_px < static_cast<double>(config.height_px) - 0.5;
        if (!on_frame) continue;
        if (!ids.empty()) id.push_back(ids[k]);
        x.push_back(s.x_px);
        y.push_back(s.y_px);
        if (wcs) {
            const survey::SkyPosition sky = wcs->sky({s.x_px, s.y_px});
            ra.push_back(sky.ra_deg);
            dec.push_back(sky.dec_deg);
        }
        flux_e.push_back(s.flux_e);
        flux_nmgy.push_back(s.flux_e / electrons_per_nmgy);
        mag.push_back(magnitude_from_nmgy(flux_nmgy.back()));
        is_star.push_back(s.is_star ? 1 : 0);
        labelled.push_back(s.flux_e >= config.simulator.prior.label_flux_min_e ? 1 : 0);
        const double nan = std::nan("");
        const Morphology shape = s.is_star ? Morphology{} : morphology_of(s.light);
        radius.push_back(s.is_star ? nan : shape.half_light_radius_px);
        axis_ratio.push_back(s.is_star ? nan : shape.axis_ratio());
        angle.push_back(s.is_star ? nan : shape.angle_rad());
    }
    std::vector<fits::Column> columns{{"X_PX", "pixel", "column, 0 = centre of the first pixel", x},
                                      {"Y_PX", "pixel", "row, 0 = centre of the first pixel", y},
                                      {"FLUX_E", "electron", "total flux", flux_e},
                                      {"FLUX_NMGY", "nmgy", "total flux", flux_nmgy},
                                      {"MAG", "mag", "AB magnitude", mag},
                                      {"IS_STAR", "", "1 star, 0 galaxy", is_star},
                                      {"LABELLED", "", "1 above the label limit", labelled},
                                      {"R_HALF_PX", "pixel", "half-light radius, circularised", radius},
                                      {"AXIS_RATIO", "", "minor to major axis", axis_ratio},
                                      {"ANGLE_RAD", "rad", "major axis, from +x towards +y", angle}};
    if (wcs) {
        columns.push_back({"RA", "deg", "right ascension (ICRS)", ra});
        columns.push_back({"DEC", "deg", "declination (ICRS)", dec});
    }
    if (!ids.empty()) columns.push_back({"ID", "", "the same in all fields that see the source", id});
    auto file = fits::FitsFile::create(path);
    file.write_table("TRUTH", columns);
    file.write_key("RATE", truth.conditions.sources_per_tile, "labelled sources per 4x4-pixel tile in the mean");
    file.commit();
}

double catalogued_rate(const FramesConfig& config) {
    if (config.simulator.prior.star_fraction == 1) return 0;
    const ConditionsConfig& conditions = config.simulator.conditions;
    return std::sqrt(conditions.sources_per_tile_low * conditions.sources_per_tile_high);
}

}  // namespace bliss::simulator
