#include "bliss/survey/wcs.hpp"

#include "bliss/core/error.hpp"

#include <fmt/format.h>
#include <wcslib/wcs.h>
#include <wcslib/wcsfix.h>
#include <wcslib/wcshdr.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <mutex>
#include <string_view>

namespace bliss::survey {
namespace {

constexpr double k_nan = std::numeric_limits<double>::quiet_NaN();

/// wcslib's header parser and its set-up use static state in places; frames are read by several threads.
std::mutex& parser_mutex() {
    static std::mutex mutex;
    return mutex;
}

}  // namespace

struct Wcs::Impl {
    wcsprm wcs{};
    bool has_distortion = false;
    std::mutex mutex;

    Impl() { wcs.flag = -1; }
    Impl(const Impl&) = delete;
    Impl& operator=(const Impl&) = delete;
    ~Impl() { wcsfree(&wcs); }

    /// wcsset writes to the struct, and later calls write only where distortion tables keep scratch space: with those,
    /// one thread at a time.
    void set_up(const std::string& source) {
        wcs.flag = wcs.flag == -1 ? -1 : 0;
        if (const int status = wcsset(&wcs); status != 0) {
            throw DataError(fmt::format("{}: the header's world coordinates cannot be used: {}; correct the WCS keys",
                                        source, wcs_errmsg[status]));
        }
        if (wcs.lng < 0 || wcs.lat < 0) {
            throw DataError(
                fmt::format("{}: the header holds no celestial coordinates (CTYPE1 and CTYPE2 name none)", source));
        }
        const std::string_view kind{wcs.lngtyp}, system{wcs.radesys};
        if (kind != "RA" || !(system.empty() || system == "ICRS" || system == "FK5")) {
            throw DataError(fmt::format("{}: the header's coordinates are {} {} in system '{}'; RA and DEC in ICRS or FK5 are needed",
                                        source, wcs.lngtyp, wcs.lattyp, system));
        }
        has_distortion = wcs.lin.dispre != nullptr || wcs.lin.disseq != nullptr;
    }

    template <class Function>
    int transform(Function function) {
        if (!has_distortion) return function();
        const std::lock_guard lock(mutex);
        return function();
    }
};

std::string wcslib_version() { return ::wcslib_version(nullptr); }

Wcs Wcs::from_header(const std::string& cards, int card_count, const std::string& source) {
    const std::lock_guard lock(parser_mutex());
    std::string header = cards;
    int rejected = 0;
    int count = 0;
    wcsprm* parsed = nullptr;
    if (const int status = wcspih(header.data(), card_count, WCSHDR_all, 0, &rejected, &count, &parsed); status != 0) {
        throw DataError(fmt::format("{}: reading the world coordinates failed: {}", source, wcshdr_errmsg[status]));
    }
    struct Release {
        int* count;
        wcsprm** list;
        ~Release() { wcsvfree(count, list); }
    } const release{&count, &parsed};

    auto impl = std::make_shared<Impl>();
    for (int i = 0; i < count; ++i) {
        wcsprm& candidate = parsed[i];
        if (candidate.naxis != 2) continue;
        // Repairs what is common and harmless, such as the obsolete RADECSYS or unit spellings.
        int fixes[NWCSFIX];
        wcsfix(0, nullptr, &candidate, fixes);
        if (wcsset(&candidate) != 0 || candidate.lng < 0 || candidate.lat < 0) continue;
        if (const int status = wcssub(1, &candidate, nullptr, nullptr, &impl->wcs); status != 0) {
            throw DataError(fmt::format("{}: copying the world coordinates failed: {}", source, wcs_errmsg[status]));
        }
        impl->set_up(source);
        return Wcs(std::move(impl));
    }
    throw DataError(
        fmt::format("{}: the header holds no celestial coordinates of two axes (CTYPE1, CTYPE2); without them "
                    "sky positions cannot be given",
                    source));
}

Wcs Wcs::tangent(SkyPosition centre, PixelPosition reference, double arcsec_per_px) {
    const double degrees_per_px = arcsec_per_px / 3600;
    return tangent_plane(centre, reference, {-degrees_per_px, 0, 0, degrees_per_px});
}

Wcs Wcs::drift_scan(SkyPosition centre, PixelPosition reference, double arcsec_per_px) {
    const double degrees_per_px = arcsec_per_px / 3600;
    return tangent_plane(centre, reference, {0, degrees_per_px, degrees_per_px, 0});
}

Wcs Wcs::tangent_plane(SkyPosition centre, PixelPosition reference, const std::array<double, 4>& cd) {
    const std::lock_guard lock(parser_mutex());
    auto impl = std::make_shared<Impl>();
    wcsprm& wcs = impl->wcs;
    if (wcsini(1, 2, &wcs) != 0) throw DataError("making world coordinates failed: out of memory");
    wcs.crpix[0] = reference.x_px + 1;
    wcs.crpix[1] = reference.y_px + 1;
    wcs.crval[0] = centre.ra_deg;
    wcs.crval[1] = centre.dec_deg;
    constexpr int k_has_cd = 2;  // of wcslib's altlin
    wcs.altlin = k_has_cd;
    std::ranges::copy(cd, wcs.cd);
    std::strcpy(wcs.ctype[0], "RA---TAN");
    std::strcpy(wcs.ctype[1], "DEC--TAN");
    std::strcpy(wcs.cunit[0], "deg");
    std::strcpy(wcs.cunit[1], "deg");
    std::strcpy(wcs.radesys, "ICRS");
    impl->set_up("tangent projection");
    return Wcs(std::move(impl));
}

SkyPosition Wcs::sky(PixelPosition pixel) const {
    const double pixel_crd[2] = {pixel.x_px + 1, pixel.y_px + 1};
    double image_crd[2];
    double world[2];
    double phi = 0;
    double theta = 0;
    int bad = 0;
    const int status =
        impl_->transform([&] { return wcsp2s(&impl_->wcs, 1, 2, pixel_crd, image_crd, &phi, &theta, world, &bad); });
    if (status != 0 || bad != 0) return {k_nan, k_nan};
    const double ra = std::fmod(world[impl_->wcs.lng] + 360, 360);
    return {ra, world[impl_->wcs.lat]};
}

PixelPosition Wcs::pixel(SkyPosition sky) const {
    double world[2];
    world[impl_->wcs.lng] = sky.ra_deg;
    world[impl_->wcs.lat] = sky.dec_deg;
    double pixel_crd[2];
    double image_crd[2];
    double phi = 0;
    double theta = 0;
    int bad = 0;
    const int status =
        impl_->transform([&] { return wcss2p(&impl_->wcs, 1, 2, world, &phi, &theta, image_crd, pixel_crd, &bad); });
    if (status != 0 || bad != 0) return {k_nan, k_nan};
    return {pixel_crd[0] - 1, pixel_crd[1] - 1};
}

std::string Wcs::header_cards() const {
    const std::lock_guard lock(parser_mutex());
    // wcshdo may call wcsset again; it gets a copy so that this object stays read-only.
    Impl copy;
    if (wcssub(1, &impl_->wcs, nullptr, nullptr, &copy.wcs) != 0 || wcsset(&copy.wcs) != 0) {
        throw DataError("writing world coordinates failed: out of memory");
    }
    int count = 0;
    char* text = nullptr;
    if (const int status = wcshdo(WCSHDO_none, &copy.wcs, &count, &text); status != 0) {
        throw DataError(fmt::format("writing world coordinates failed: {}", wcs_errmsg[status]));
    }
    constexpr std::size_t k_card = 80;
    std::string cards(text, static_cast<std::size_t>(count) * k_card);
    std::free(text);
    return cards;
}

}  // namespace bliss::survey
