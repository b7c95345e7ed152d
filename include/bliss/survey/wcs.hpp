#pragma once

#include <array>
#include <memory>
#include <string>
#include <utility>

namespace bliss::survey {

struct SkyPosition {
    double ra_deg = 0;
    double dec_deg = 0;
};

struct PixelPosition {
    double x_px = 0;  ///< column; 0 is the centre of the first pixel
    double y_px = 0;  ///< row; 0 is the centre of the first pixel
};

/// Version of wcslib, "7.12".
[[nodiscard]] std::string wcslib_version();

/// Celestial coordinates of an image, through wcslib. Copies share one immutable transformation; threads may share it too.
/// FITS pixel numbers start at 1; x_px and y_px here start at 0. Right ascension and declination may stand in either axis.
class Wcs {
public:
    /// From the cards of a FITS header (80 characters each, joined). @throws DataError naming `source` when it holds no
    /// celestial coordinates.
    static Wcs from_header(const std::string& cards, int card_count, const std::string& source);

    /// A tangent-plane projection with north up and east left, centred on the image (for simulated frames).
    static Wcs tangent(SkyPosition centre, PixelPosition reference, double arcsec_per_px);
    /// The same as a drift scan along the equator sees it (SDSS): right ascension grows with the row, declination with the column.
    static Wcs drift_scan(SkyPosition centre, PixelPosition reference, double arcsec_per_px);

    /// Sky position of a pixel, right ascension in [0, 360); NaN where the projection is not defined.
    [[nodiscard]] SkyPosition sky(PixelPosition pixel) const;
    /// Pixel of a sky position; NaN where the projection does not reach (the other half of the sky).
    [[nodiscard]] PixelPosition pixel(SkyPosition sky) const;

    /// The transformation as FITS header cards (80 characters each, joined), for writing an image.
    [[nodiscard]] std::string header_cards() const;

private:
    struct Impl;
    /// @param cd degrees per pixel, row by row (FITS CDi_j)
    static Wcs tangent_plane(SkyPosition centre, PixelPosition reference, const std::array<double, 4>& cd);
    explicit Wcs(std::shared_ptr<Impl> impl) : impl_{std::move(impl)} {}
    std::shared_ptr<Impl> impl_;
};

}  // namespace bliss::survey
