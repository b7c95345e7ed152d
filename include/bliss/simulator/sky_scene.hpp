#pragma once

#include "bliss/simulator/simulation.hpp"

#include <cstdint>
#include <functional>
#include <vector>

namespace bliss::simulator {

/// A sky without end that is always the same: sources on a plane, drawn cell by cell. What lies in a rectangle does not depend on which
/// rectangle is asked for, so fields that overlap see the same sources, and no field needs more memory than it covers.
class SkyScene {
public:
    /// @param decoder of learnt galaxies, else null; must outlive this object
    /// @param rate labelled sources per 4x4-pixel tile at a place of the plane (x, y), constant over a cell
    SkyScene(const PriorConfig& prior, const GalaxyDecoder* decoder, std::uint64_t seed, std::function<double(double, double)> rate);

    /// Sources by place on the plane (x_px, y_px), with a number that names each.
    struct Contents {
        std::vector<Source> sources;
        std::vector<std::int64_t> ids;
    };
    /// What lies in a rectangle, widened to whole cells; its corner is at or above -k_cell_px. Cell by cell.
    [[nodiscard]] Contents within(const Area& area) const;

    static constexpr std::int64_t k_cell_px = 256;

private:
    const PriorConfig& prior_;
    const GalaxyDecoder* decoder_;
    std::uint64_t seed_;
    std::function<double(double, double)> rate_;
};

}  // namespace bliss::simulator
